"""What a campaign shows while it runs: slots, last events, and where it stands. Thread-safe."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evo.files import LIVE, write_file
from population.types import CurvePoint, RunRequest

EVENTS_KEPT = 100
POINTS_KEPT = 64  # of a curve, spread over the whole run
LIVE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One line of what happened, plain text; `at` in seconds since the epoch."""

    kind: str
    text: str
    at: float


@dataclass(slots=True)
class SlotView:
    """What one slot is doing; `since` is monotonic seconds."""

    name: str
    request: RunRequest | None = None
    since: float = 0.0
    points: deque[CurvePoint] = field(default_factory=lambda: deque(maxlen=POINTS_KEPT + 2))

    def copy(self) -> SlotView:
        """A view that no running slot changes any more."""
        return SlotView(
            self.name, self.request, self.since, deque(self.points, maxlen=POINTS_KEPT + 2)
        )


class Monitor:
    """The campaign writes, a terminal reads. `listeners` hear of every event, in the thread it happens in."""

    def __init__(self, slots: list[str]) -> None:
        self._lock = threading.Lock()
        self._slots = {name: SlotView(name) for name in slots}
        self._events: deque[Notice] = deque(maxlen=EVENTS_KEPT)
        self._phase = "starting"
        self.listeners: list[Callable[[Notice], None]] = []

    def slot_takes(self, name: str, request: RunRequest) -> None:
        """A slot starts a run."""
        with self._lock:
            self._slots[name] = SlotView(name, request, time.monotonic())

    def slot_progress(self, name: str, point: CurvePoint) -> None:
        """A slot's run told its loss."""
        with self._lock:
            points = self._slots[name].points
            # a script that tells every step would push its own beginning out
            if len(points) > 1 and point.progress - points[-2].progress < 1 / POINTS_KEPT:
                points.pop()
            points.append(point)

    def slot_leaves(self, name: str) -> None:
        """A slot is free."""
        with self._lock:
            self._slots[name] = SlotView(name)

    def tell(self, kind: str, text: str) -> Notice:
        """Note an event and pass it on."""
        event = Notice(kind, text, time.time())
        with self._lock:
            self._events.append(event)
        for listener in list(self.listeners):
            listener(event)
        return event

    def set_phase(self, phase: str) -> None:
        """Calibrating, searching, final, graduating, ended."""
        with self._lock:
            self._phase = phase

    @property
    def phase(self) -> str:
        """What the campaign is busy with."""
        with self._lock:
            return self._phase

    def slots(self) -> list[SlotView]:
        """Each slot, as it is now."""
        with self._lock:
            return [view.copy() for view in self._slots.values()]

    def events(self, last: int = 10) -> list[Notice]:
        """The newest events, oldest first."""
        with self._lock:
            return list(self._events)[-last:]


class LiveFile:
    """What the slots do, in a file that other processes read: `evo serve` shows it. Gone when none runs."""

    def __init__(self, folder: Path, board: Monitor) -> None:
        self._path, self._board = folder / LIVE, board
        self._next, self._written = 0.0, ""

    def write(self) -> None:
        """Write what is new, once a second at most. A full disk costs the picture alone."""
        if (now := time.monotonic()) < self._next:
            return
        self._next = now + LIVE_SECONDS
        slots = [_plain(view, now) for view in self._board.slots()]
        text = json.dumps({"phase": self._board.phase, "slots": slots}, separators=(",", ":"))
        if text != self._written:
            with contextlib.suppress(OSError):
                write_file(self._path, text)
                self._written = text

    def remove(self) -> None:
        """Nothing runs any more."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _plain(view: SlotView, now: float) -> dict[str, object]:
    """A slot as plain values; `since` in seconds since the epoch, losses in nats, as the variant told them."""
    asked = view.request
    if asked is None:
        return {"name": view.name}
    curve = [
        [round(one.progress, 4), round(one.loss, 4)]
        for one in view.points
        if math.isfinite(one.progress) and math.isfinite(one.loss)
    ]
    return {
        "name": view.name,
        "variant": asked.variant_id,
        "rung": asked.rung,
        "block": asked.block,
        "purpose": asked.purpose.value,
        "since": round(time.time() - (now - view.since)),
        "curve": curve,
    }
