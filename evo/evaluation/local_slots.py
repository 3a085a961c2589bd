"""The slots of this machine: runs are submitted and collected; one thread a slot carries them out.

A thread outlives every sandbox it starts, because a sandbox dies with the thread that started it.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evo.evaluation.slots import Slot, Watch
from population.types import CurvePoint, Measurement, RunRequest, Status


class Evaluates(Protocol):
    """Measures one variant; a failing child is a Status, never an exception."""

    def evaluate(self, request: RunRequest, source: str, slot: Slot, watch: Watch) -> Measurement:
        """What the run showed."""
        ...


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A slot took a run."""

    request: RunRequest
    slot: str


@dataclass(frozen=True, slots=True)
class RunProcess:
    """A role of a run has an outer process; `started_at` in seconds since the epoch."""

    request: RunRequest
    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run told a loss."""

    request: RunRequest
    slot: str
    point: CurvePoint


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over. `fault`: the traceback where our own code broke; the run counts as lost."""

    measurement: Measurement
    fault: str = ""


SlotEvent = RunStarted | RunProcess | RunProgress | RunEnded


class Slots(Protocol):
    """Where runs happen, near or far. Nothing here blocks: `wake` is called when something can be collected."""

    @property
    def size(self) -> int:
        """How many runs can be under way at once."""
        ...

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to take runs."""
        ...

    def capacity(self) -> int:
        """How many submissions would start at once: slots from which everything was collected."""
        ...

    def submit(self, runs: Sequence[tuple[RunRequest, str]]) -> None:
        """Runs with their sources, for one slot, one after the other. ValueError without capacity."""
        ...

    def results(self) -> list[SlotEvent]:
        """What happened since the last call, in order."""
        ...

    def cancel(self, request: RunRequest, reason: str = "") -> None:
        """End a run: as stopped for this reason, or at once and as lost without one."""
        ...

    def close(self) -> None:
        """No more runs; those under way go on to their end."""
        ...


@dataclass(slots=True)
class _Run:
    """One run in a slot: how its evaluation speaks to the slots, and whether it has to end."""

    request: RunRequest
    slot: str
    tell: Callable[[SlotEvent], None]
    cancelled: bool = False
    reason: str = ""

    def started(self, pid: int, started_at: float) -> None:
        self.tell(RunProcess(self.request, pid, started_at))

    def progress(self, point: CurvePoint) -> None:
        self.tell(RunProgress(self.request, self.slot, point))

    def hopeless(self) -> str:
        return self.reason

    def stopping(self) -> bool:
        return self.cancelled


@dataclass(slots=True)
class _Worker:
    """A slot's thread, what it was given, and how much of that was not collected yet."""

    slot: Slot
    given: deque[tuple[_Run, str]] = field(default_factory=deque)
    open: int = 0


class LocalSlots:
    """The slots of this machine; see `Slots`."""

    def __init__(self, evaluator: Evaluates, slots: Sequence[Slot]) -> None:
        self.evaluator = evaluator
        self.slots = tuple(slots)
        self._workers = {slot.name: _Worker(slot) for slot in self.slots}
        self._runs: dict[RunRequest, _Run] = {}
        self._events: deque[SlotEvent] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._wake: Callable[[], None] = lambda: None

    @property
    def size(self) -> int:
        """How many slots there are."""
        return len(self.slots)

    def start(self, wake: Callable[[], None]) -> None:
        """Start one thread a slot."""
        self._wake = wake
        for name, worker in self._workers.items():
            threading.Thread(target=self._work, args=(worker,), name=name, daemon=True).start()

    def capacity(self) -> int:
        """How many slots have nothing to do, and nothing left to collect."""
        with self._changed:
            return sum(not worker.open for worker in self._workers.values())

    def submit(self, runs: Sequence[tuple[RunRequest, str]]) -> None:
        """Give runs to one free slot. ValueError when none is free."""
        with self._changed:
            worker = next((one for one in self._workers.values() if not one.open), None)
            if worker is None:
                raise ValueError("no slot is free")
            for request, source in runs:
                run = self._runs[request] = _Run(request, worker.slot.name, self._tell)
                worker.given.append((run, source))
                worker.open += 1
            self._changed.notify_all()

    def results(self) -> list[SlotEvent]:
        """What happened since the last call, in order."""
        with self._changed:
            found = list(self._events)
            self._events.clear()
            for event in found:
                if isinstance(event, RunEnded):
                    run = self._runs.pop(event.measurement.request)
                    self._workers[run.slot].open -= 1
        return found

    def cancel(self, request: RunRequest, reason: str = "") -> None:
        """End a run that is under way or given; one that has ended already is nobody's."""
        with self._changed:
            run = self._runs.get(request)
            if run is not None:
                run.reason, run.cancelled = reason, not reason

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _tell(self, event: SlotEvent) -> None:
        with self._changed:
            self._events.append(event)
        self._wake()  # without the lock: a thread that is woken may hold one and ask for ours

    def _work(self, worker: _Worker) -> None:
        while True:
            with self._changed:
                while not worker.given:
                    if self._closed:
                        return
                    self._changed.wait()
                run, source = worker.given[0]
            self._tell(RunStarted(run.request, run.slot))
            ended = self._evaluate(run, source, worker.slot)
            with self._changed:
                worker.given.popleft()
            self._tell(ended)

    def _evaluate(self, run: _Run, source: str, slot: Slot) -> RunEnded:
        if run.cancelled:
            return RunEnded(
                Measurement(run.request, Status.LOST, "stopped on request", slot=slot.name)
            )
        try:
            return RunEnded(self.evaluator.evaluate(run.request, source, slot, run))
        except Exception as error:  # noqa: BLE001 - border of the slot: our own fault is a lost attempt
            lost = Measurement(
                run.request,
                Status.LOST,
                f"{type(error).__name__}: {error}",
                slot=slot.name,
                started_at=time.time(),
            )
            return RunEnded(lost, traceback.format_exc(limit=-3))
