"""The slots of a cluster: a run is a task of one worker under a lease; see `Slots` for what is promised.

At most one result a request, whatever happens: Dask runs no task twice, a run that we gave up is nobody's when
its answer comes late, and what was lost goes back to the scheduler of the search, which tries again so often.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
import threading
import time
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo.evaluation.audit import Tolerance, tolerance_in
from evo.evaluation.cluster.connection import ClusterUnavailable, Connection, Member
from evo.evaluation.cluster.worker import (
    Assignment,
    Kit,
    OpensEvaluator,
    TaskResult,
    measure,
    measure_startup,
    packed,
    receive,
    renew,
)
from evo.evaluation.evaluator import TOLERANCE, Evaluator
from evo.evaluation.local_slots import RunEnded, RunProgress, RunStarted, SlotEvent
from population.types import DERIVED, CurvePoint, Measurement, RunRequest, Status

LOOK_SECONDS = 1.0
RENEW_SECONDS = 5.0
GIVE_UP_SECONDS = 10.0  # after a run was told to end at once
STARTUP_SECONDS = 600.0
ANSWER_SECONDS = 60.0  # to fetch what a worker that has ended a run answered
ANSWERS_AT_ONCE = 8
GONE = ("cancelled", "lost")  # what a future says whose client or worker is no more


@dataclass(slots=True, eq=False)
class _Lease:
    """One run at one worker. `over`: it has its end, and what comes later is void."""

    number: int
    request: RunRequest
    source: str
    member: Member
    reason: str = ""  # why to stop it early
    cancelled_at: float | None = None
    future: Any = None
    over: bool = False


class ClusterSlots:
    """Workers of a cluster as slots; they come and go while it runs.

    `make_kit`: what the workers measure with, asked for at the start; `keep_weights` takes a scored run's file.
    `tolerances`: by rung, what the seed's run set; a run that sets one adds to it.
    """

    def __init__(
        self,
        connection: Connection,
        make_kit: Callable[[], OpensEvaluator],
        keep_weights: Callable[[RunRequest, Path], None] | None = None,
        tolerances: dict[str, Tolerance] | None = None,
    ) -> None:
        self._tolerances = {} if tolerances is None else tolerances
        self._connection, self._make_kit, self._keep_weights = connection, make_kit, keep_weights
        self._changed = threading.Condition()
        self._leases: dict[RunRequest, _Lease] = {}
        self._given: dict[str, deque[_Lease]] = {}  # by worker: what it has not ended yet
        self._open: dict[str, int] = {}  # by worker: what was not collected yet
        self._ready: set[str] = set()  # workers that hold the kit
        self._last: dict[RunRequest, str] = {}  # where a run was lost that may be kept there
        self._events: deque[SlotEvent] = deque()
        self._number = self._said = 0
        self._closed = False
        self._renew_at = 0.0
        self._urgent = False  # a run is to end: the workers are to hear of it at once
        self._kit, self._content = "", b""
        self._wake: Callable[[], None] = lambda: None
        self._answers = ThreadPoolExecutor(ANSWERS_AT_ONCE, thread_name_prefix="answer")
        self._thread = threading.Thread(target=self._watch, name="cluster", daemon=True)

    @property
    def size(self) -> int:
        """How many workers there are now."""
        return len(self._connection.members)

    def start(self, wake: Callable[[], None]) -> None:
        """Send the workers what they need, and watch them."""
        self._wake = wake
        self._kit, self._content = packed(self._make_kit())
        self._connection.hear = self._hear
        with contextlib.suppress(OSError, TimeoutError):  # busy with their own beginning: sent anew
            self._equip()
        self._thread.start()

    def capacity(self) -> int:
        """How many workers have nothing to do, and nothing left to collect."""
        with self._changed:
            return 0 if self._closed else len(self._idle())

    def submit(self, runs: Sequence[tuple[RunRequest, str]]) -> None:
        """Give runs to one idle worker. ValueError when none is idle."""
        with self._changed:
            idle = self._idle()
            if not idle:
                raise ValueError("no slot is free")
            before = self._last.get(runs[0][0])
            member = next((one for one in idle if one.address == before), idle[0])
            given = self._given.setdefault(member.address, deque())
            for request, source in runs:
                self._number += 1
                lease = self._leases[request] = _Lease(self._number, request, source, member)
                given.append(lease)
            self._open[member.address] = len(runs)
        self._start_first(member)

    def results(self) -> list[SlotEvent]:
        """What happened since the last call, in order."""
        with self._changed:
            found = list(self._events)
            self._events.clear()
            for event in found:
                if isinstance(event, RunEnded):
                    address = self._leases.pop(event.measurement.request).member.address
                    self._open[address] -= 1
                    if not self._open[address]:
                        del self._open[address]
        return found

    def cancel(self, request: RunRequest, reason: str = "") -> None:
        """End a run that is under way or given; one that has ended already is nobody's."""
        with self._changed:
            lease = self._leases.get(request)
            if lease is None or lease.over or lease.cancelled_at is not None:
                return
            lease.reason = reason
            lease.cancelled_at = None if reason else time.monotonic()
            self._urgent = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the watching, leave the cluster, and end workers of our own. Runs under way are given up."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(GIVE_UP_SECONDS)
        self._answers.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(OSError, TimeoutError):
            if self._connection.is_up():
                everyone = self._connection.members.keys()
                self._connection.call(
                    renew, self._connection.id, self._said + 1, self._number, {}, workers=everyone
                )
        self._connection.close()

    # -- workers, in the watching thread -------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
            try:
                self._look()
            except (OSError, TimeoutError, ClusterUnavailable):  # a scheduler may come back
                self._lose_those_of_the_gone()
            with self._changed:
                if not self._closed and not self._urgent:
                    self._changed.wait(LOOK_SECONDS)
                urgent, self._urgent = self._urgent, False
                if urgent:
                    self._renew_at = 0.0

    def _look(self) -> None:
        connection = self._connection
        if not connection.is_up():
            self._ready.clear()
            connection.reopen()
        self._renew()
        connection.look()
        self._lose_those_of_the_gone()
        self._equip()

    def _renew(self) -> None:
        now = time.monotonic()
        with self._changed:
            if now < self._renew_at:
                return
            self._renew_at = now + RENEW_SECONDS
            live = [one for one in self._leases.values() if not one.over]
            wanted = {one.number: one.reason for one in live if one.cancelled_at is None}
            upto = self._number
            hanging = [
                one
                for one in live
                if one.cancelled_at is not None and now - one.cancelled_at > GIVE_UP_SECONDS
            ]
        for lease in hanging:
            self._lose(lease, "stopped on request")
        everyone = self._connection.members.keys()
        self._said += 1
        self._connection.tell(
            renew, self._connection.id, self._said, upto, wanted, workers=everyone
        )

    def _equip(self) -> None:
        """Send the kit to workers that do not hold it."""
        members = self._connection.members
        with self._changed:
            self._ready &= members.keys()
            new = members.keys() - self._ready
        said = self._connection.call(receive, self._kit, self._content, workers=new)
        with self._changed:
            self._ready |= {one for one, error in said.items() if error is None}
        if new:
            self._wake()

    def _lose_those_of_the_gone(self) -> None:
        members = self._connection.members if self._connection.is_up() else {}
        with self._changed:
            gone = [
                one
                for one in self._leases.values()
                if not one.over and one.member.address not in members
            ]
        for lease in gone:
            self._lose(lease, f"its worker {lease.member.slot.name} is gone")

    # -- runs ------------------------------------------------------------------------------------------

    def _idle(self) -> list[Member]:
        members = self._connection.members if self._connection.is_up() else {}
        return [
            one
            for address, one in members.items()
            if address in self._ready and address not in self._open
        ]

    def _start_first(self, member: Member) -> None:
        """Hand a worker the first of its runs; those that were cancelled before that are lost."""
        with self._changed:
            given = self._given.get(member.address)
            if not given:
                return
            lease = given[0]
        if lease.cancelled_at is not None:
            self._lose(lease, "stopped on request")
            return
        order = Assignment(
            self._connection.id,
            lease.number,
            self._kit,
            lease.request,
            lease.source,
            member.slot,
            self._keep_weights is not None,
            dict(self._tolerances),
        )
        try:
            lease.future = self._connection.submit(member, str(lease.number), measure, order)
        except Exception as error:  # noqa: BLE001 - border to Dask: whatever it says, nothing ran
            self._lose(lease, f"it could not be sent: {type(error).__name__}")
            return
        lease.future.add_done_callback(functools.partial(self._answered, lease))

    def _answered(self, lease: _Lease, future: Any) -> None:
        """A task is over; called in Dask's one thread for it, shared by all connections: nothing waits here."""
        with contextlib.suppress(RuntimeError):  # closed meanwhile: nobody asks any more
            self._answers.submit(self._fetch, lease, future)

    def _fetch(self, lease: _Lease, future: Any) -> None:
        """What a task returned. A client that was left may never answer."""
        try:
            if future.status in GONE:
                raise LookupError(future.status)
            outcome = future.result(timeout=ANSWER_SECONDS)
        except (Exception, CancelledError) as error:  # noqa: BLE001 - border to Dask: nothing came back
            self._lose(
                lease, f"its worker {lease.member.slot.name} is gone ({type(error).__name__})"
            )
            return
        assert isinstance(outcome, TaskResult)
        measured = outcome.measurement
        if set_here := tolerance_in(measured.facts.get(TOLERANCE, "")):
            self._tolerances.setdefault(measured.request.rung.partition(DERIVED)[0], set_here)
        self._end(lease, RunEnded(measured, outcome.fault), outcome.weights)

    def _lose(self, lease: _Lease, reason: str) -> None:
        lost = Measurement(
            lease.request, Status.LOST, reason, slot=lease.member.slot.name, started_at=time.time()
        )
        self._end(lease, RunEnded(lost))

    def _end(self, lease: _Lease, ended: RunEnded, weights: bytes = b"") -> None:
        with self._changed:
            if lease.over:
                return  # a late twin
            lease.over = True
            if ended.measurement.status is Status.LOST:
                self._last[lease.request] = lease.member.address
            else:
                self._last.pop(lease.request, None)
        if weights:
            self._keep(lease.request, weights)
        with self._changed:
            given = self._given[lease.member.address]
            given.remove(lease)
            if not given:
                del self._given[lease.member.address]
            self._events.append(ended)
        self._start_first(lease.member)
        self._wake()

    def _keep(self, request: RunRequest, weights: bytes) -> None:
        assert self._keep_weights is not None
        with tempfile.TemporaryDirectory(prefix="evo-weights-") as folder:
            path = Path(folder) / "weights.safetensors"
            path.write_bytes(weights)
            self._keep_weights(request, path)

    def _hear(self, record: dict[str, Any]) -> None:
        """A record of a run's progress; called in Dask's loop."""
        with self._changed:
            number = record["lease"]
            lease = next((one for one in self._leases.values() if one.number == number), None)
            if lease is None or lease.over:
                return
            name = lease.member.slot.name
            points = [CurvePoint(*one) for one in record["points"]]
            told = [RunProgress(lease.request, name, one) for one in points]
            self._events += told or [RunStarted(lease.request, name)]
        self._wake()


def startup_at_a_worker(
    connection: Connection, evaluator: Evaluator, rung: str
) -> tuple[float, float]:
    """What starting costs the seed at the first worker. ClusterUnavailable with what went wrong there."""
    member = next(iter(connection.members.values()))
    digest, content = packed(Kit.of(evaluator))
    connection.call(receive, digest, content, workers=[member.address])
    future = connection.submit(
        member, f"startup-{rung}", measure_startup, digest, rung, member.slot
    )
    try:
        said = future.result(timeout=STARTUP_SECONDS)
    except (Exception, CancelledError) as error:
        raise ClusterUnavailable(
            f"slots: worker {member.slot.name} did not measure the start-up of {rung}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(said, str):
        raise ClusterUnavailable(f"the seed fails at rung {rung} on {member.slot.name}: {said}")
    warm, cold = said
    return float(warm), float(cold)
