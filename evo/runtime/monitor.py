"""What a campaign shows while it runs: slots, last events, and where it stands. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from population.types import CurvePoint, RunRequest

EVENTS_KEPT = 100
POINTS_KEPT = 64


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
    points: deque[CurvePoint] = field(default_factory=lambda: deque(maxlen=POINTS_KEPT))

    def copy(self) -> SlotView:
        """A view that no running slot changes any more."""
        return SlotView(self.name, self.request, self.since, deque(self.points, maxlen=POINTS_KEPT))


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
            self._slots[name].points.append(point)

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
