"""The evaluation lane: starts what the scheduler names in free slots, and records what comes back."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Collection
from dataclasses import dataclass, replace

from evo.evaluation.local_slots import RunEnded, RunProcess, RunProgress, RunStarted, SlotEvent
from evo.runtime.components import Components, LoopSettings, Shared, Stop
from evo.runtime.decisions import Decisions
from evo.runtime.proposal_lane import ProposalLane
from evo.runtime.recorder import add_judged
from evo.search.early_stopping import Following
from evo.search.scheduler import SearchState
from evo.search.suspicion import doubt
from evo.search.voiding import RunConditions, judged
from population.ladder import APPROVED, UNVETOED, VETOED, Role
from population.metrics import label
from population.reading import decisions, source_of
from population.run_history import RunHistory
from population.store import Store
from population.types import (
    AGAIN,
    DERIVED,
    ONE_STEP,
    FrontMember,
    Measurement,
    MeasurementRow,
    Purpose,
    RunKey,
    RunRequest,
    Status,
    rung_in_words,
)

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A run that was submitted: the scheduler's request, since when, and what compares its curve."""

    request: RunRequest
    since: float
    followed: Following | None


class EvaluationLane:
    """One thread between scheduler and slots, and what is under way."""

    def __init__(
        self, components: Components, settings: LoopSettings, shared: Shared, children: ProposalLane
    ) -> None:
        self._components = components
        self._shared = shared
        self._children = children
        self._under_way: dict[RunKey, _UnderWay] = {}
        self._decisions = Decisions(shared, components.history.seed_id)
        self._news = False  # something can be collected
        self._moved = set[str]()  # rungs with rows that their fronts do not know yet
        self._thread = threading.Thread(target=self._work, name="evaluate", daemon=True)

    def take_up(self, store: Store) -> None:
        """Doubt the newest run of a rung, where a kill came between its row and the veto of what it says."""
        decided = {one.variant_id for one in decisions(store, (APPROVED, VETOED, UNVETOED))}
        for rung in self._components.history.rungs():
            for row in self._components.history.rows(rung)[-1:]:
                if row.measurement.request.variant_id not in decided:
                    self._doubt(row.measurement)

    def start(self) -> None:
        """Start the slots and the lane."""
        for rung in self._components.history.rungs():
            self._publish_front(rung)  # a kill may have come between a measurement and its front
        self._components.slots.start(self._wake)
        self._thread.start()

    @property
    def working(self) -> bool:
        """Whether anything runs or may still come."""
        return self._thread.is_alive()

    def purposes(self) -> set[Purpose]:
        """What is under way, by purpose."""
        with self._shared.changed:
            return {one.request.purpose for one in self._under_way.values()}

    def veto(self, variant_ids: Collection[str]) -> None:
        """From now on these are neither parents nor front members."""
        self._components.history.veto(variant_ids)
        for rung in self._components.history.rungs():
            self._publish_front(rung)

    # -- the lane's thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        slots, changed = self._components.slots, self._shared.changed
        try:
            while True:
                for event in slots.results():
                    self._take_in(event)
                self._publish_moved()
                self._fill_slots()
                with changed:
                    over = not self._under_way and self._is_over()
                    if not over and not self._news:
                        changed.wait(POLL_SECONDS)
                    self._news = False
                if over and not self._hear_reviewers():
                    break
            for rung in self._components.history.rungs():
                self._publish_front(rung, whole=True)  # with what only moved a little
        except Exception as error:  # noqa: BLE001 - border of the thread: a campaign never goes on maimed
            self._fail(error)
        finally:
            slots.close()

    def _hear_reviewers(self) -> bool:
        """Whether models that review said something new of who waits to go up."""
        graduation, review = self._components.scheduler.graduation, self._components.review
        if review is None or self._shared.stop is not Stop.NO:
            return False
        with self._shared.changed:
            waiting = graduation.waiting()
        said = review(waiting, graduation.ladder)  # nothing runs: nobody waits for it
        with self._shared.changed:
            for one in said:
                graduation.take(one)
        self._decisions.tell(said)
        return bool(said)

    def _wake(self) -> None:
        with self._shared.changed:
            self._news = True
            self._shared.changed.notify_all()

    def _is_over(self) -> bool:
        return self._shared.stop is not Stop.NO or self._children.is_over

    def _fail(self, error: Exception) -> None:
        """Without slots, or a store that takes measurements, ending is all that is left."""
        with self._shared.changed:
            self._shared.failure = self._shared.failure or f"{type(error).__name__}: {error}"
            self._shared.stop = Stop.NOW
            self._components.stopping.set()
            self._cancel_all()
            self._shared.changed.notify_all()

    def _cancel_all(self) -> None:
        for one in self._under_way.values():
            self._components.slots.cancel(self._again(one.request))

    def _fill_slots(self) -> None:
        """Submit the scheduler's next runs while slots are free; a pair goes to one slot."""
        if self._shared.stop is Stop.NOW:
            self._cancel_all()
        while self._shared.stop is Stop.NO and self._components.slots.capacity():
            with self._shared.changed:
                step = self._components.scheduler.next(self._state())
                self._decisions.tell(step.decisions)
                for request in step.runs:
                    followed = self._follow(request)
                    self._under_way[request.key] = _UnderWay(request, time.monotonic(), followed)
                    if self._is_first_run(request):
                        self._children.ready.remove(request.variant_id)
                if step.runs:
                    self._shared.changed.notify_all()
            if not step.runs:
                return
            self._submit([self._again(request) for request in step.runs])

    def _submit(self, requests: list[RunRequest]) -> None:
        """Hand runs to a slot. Without their source they are lost attempts: our own fault, tried again."""
        try:
            with self._components.open_store() as store:
                runs = [(request, source_of(store, request.variant_id)) for request in requests]
        except Exception as error:  # noqa: BLE001 - border of the lane: our own fault is a lost attempt
            reason, fault = f"{type(error).__name__}: {error}", traceback.format_exc(limit=-3)
            for request in requests:
                lost = Measurement(request, Status.LOST, reason, started_at=time.time())
                self._take_in(RunEnded(lost, fault))
            return
        self._components.slots.submit(runs)

    def _state(self) -> SearchState:
        under_way = {key: one.request for key, one in self._under_way.items()}
        return SearchState(under_way, tuple(self._children.ready), self._children.is_over)

    def _again(self, request: RunRequest) -> RunRequest:
        """The request as it is recorded: a row of its own for each time that one was voided."""
        voided = self._components.history.voided(request)
        return replace(request, repeat=request.repeat + AGAIN * voided) if voided else request

    def _is_first_run(self, request: RunRequest) -> bool:
        """Whether a child waits for this run, whatever it is made for: it need not be made twice."""
        history, proxy = self._components.history, self._components.proxy
        screen = RunKey(request.variant_id, proxy, 0, 0)
        return request.variant_id != history.seed_id and request.key == screen

    # -- one run -------------------------------------------------------------------------------------------

    def _take_in(self, event: SlotEvent) -> None:
        """What a slot told of a run."""
        recorder, monitor = self._shared.recorder, self._shared.board
        if isinstance(event, RunStarted):
            request, slot = event.request, event.slot
            self._announce(request)
            monitor.slot_takes(slot, request)
            recorder.submit(lambda store: store.open_run(request, slot))
        elif isinstance(event, RunProcess):
            request, pid, began = event.request, event.pid, event.started_at
            recorder.submit(lambda store: store.note_run_process(request, pid, began))
        elif isinstance(event, RunProgress):
            monitor.slot_progress(event.slot, event.point)
            followed = self._under_way[event.request.key].followed
            if followed is not None:
                followed.hear(event.point)
                if followed.reason:
                    self._components.slots.cancel(event.request, followed.reason)
        else:
            self._end(event)

    def _end(self, ended: RunEnded) -> None:
        measurement, request = ended.measurement, ended.measurement.request
        under_way = self._under_way[request.key]
        if ended.fault:
            self._shared.say("error", f"evaluating broke: {ended.fault}")
        if measurement.status is Status.LOST and self._shared.stop is Stop.NOW:
            self._shared.recorder.write(lambda store: store.close_run(request))
        else:
            self._record(measurement, under_way.followed)
        with self._shared.changed:
            del self._under_way[request.key]
            if self._is_first_run(request):
                is_over = self._components.history.is_settled(request.key)
                self._children.end_screen(request.variant_id, is_over)
            self._children.evaluation_seconds.add(time.monotonic() - under_way.since)
            if measurement.slot:
                self._shared.board.slot_leaves(measurement.slot)
            self._shared.changed.notify_all()

    def _announce(self, request: RunRequest) -> None:
        """A graduate's first run at an upper rung is its promotion."""
        history, one, rung = self._components.history, request.variant_id, request.rung
        first = request.purpose is Purpose.GRADUATE and request.block == 0
        choice = self._components.scheduler.graduation.ladder.choice(rung) if first else None
        if choice is None or history.rows(rung, variant_id=one):
            return
        if one in (climber.variant_id for climber in choice.having(Role.GRADUATE)):
            self._shared.say("promotion", f"{one[:8]} goes up to {rung}")

    def _follow(self, request: RunRequest) -> Following | None:
        early = self._components.early
        with self._shared.changed:
            return early.follow(request.variant_id, request.purpose) if early is not None else None

    def _record(self, measurement: Measurement, followed: Following | None) -> None:
        request, history, recorder = (
            measurement.request,
            self._components.history,
            self._shared.recorder,
        )
        # before its score is looked at by anyone: whether the run counts must not depend on it
        objection = judged(self._components.voiding, measurement, history.voided(request))
        if objection:
            self._void(measurement, objection)
            return
        row_id, measurement = recorder.write(lambda store: add_judged(store, measurement))
        with self._shared.changed:
            if self._components.voiding is not None and measurement.status is Status.OK:
                self._components.voiding.take_in(RunConditions.of(measurement))
            history.add(MeasurementRow(row_id, shortened(measurement)))
            if request.purpose is Purpose.SCREEN and measurement.status is not Status.LOST:
                self._children.settle(request.variant_id, row_id)
            if self._components.early is not None:
                would_stop = self._components.early.take_in(measurement, followed)
                self._decisions.tell([would_stop] if would_stop is not None else [])
            self._decisions.tell(self._components.scheduler.tell(request))
            self._doubt(measurement)
            failed = measurement.status not in (Status.OK, Status.LOST)
            if request.purpose is Purpose.CALIBRATE and (failed or self._is_hopeless(request)):
                again = "" if failed else "; mend what lost it, and `evo resume` tries it anew"
                said = f"the seed {measurement.status}: {measurement.reason}{again}"
                self._children.close(said, instead=True)
        self._moved.add(request.rung)
        seconds = self._components.budget.spent().seconds
        recorder.submit(lambda store: store.set_setting("seconds_spent", seconds))
        self._shared.say("measured", describe(measurement, history))

    def _is_hopeless(self, request: RunRequest) -> bool:
        """Whether the seed has no score, gets none by another try, and none by a run under way."""
        others = [one.request for key, one in self._under_way.items() if key != request.key]
        if any(one.purpose is Purpose.CALIBRATE for one in others):
            return False
        return self._components.history.seed_failed(request.rung)

    def _doubt(self, measurement: Measurement) -> None:
        """Keep a child whose own word is too good to be believed out of all else until a person looked."""
        graduation = self._components.scheduler.graduation
        found = doubt(self._components.history, self._components.lineage, measurement)
        if found is not None and graduation.apply(found):
            self._components.history.veto(graduation.ladder.vetoed)
            self._decisions.tell([found])

    def _void(self, measurement: Measurement, reason: str) -> None:
        """Record a run that does not count; it will be made again."""

        def write(store: Store) -> None:
            with store.transaction():
                store.void(store.add_measurement(measurement), reason)

        self._shared.recorder.write(write)
        self._components.history.void(measurement.request)
        request = measurement.request
        self._shared.say(
            "voided", f"{request.purpose} {request.variant_id[:8]} does not count: {reason}"
        )

    def _publish_moved(self) -> None:
        """Once for all rows that came together: with many slots they do."""
        for rung in sorted(self._moved):
            self._publish_front(rung)
        self._moved.clear()

    def _publish_front(self, rung: str, whole: bool = False) -> None:
        if DERIVED in rung:
            return  # what was only built has no score; shares of a budget have no front
        with self._shared.changed:  # fronts are written in the order of the rows they rest on
            members = self._members(rung)
            moved = self._components.history.moved_beliefs(rung, whole)

            def write(store: Store) -> None:
                with store.transaction():
                    store.set_front(rung, members)
                    store.set_beliefs(rung, moved)

            self._shared.recorder.submit(write)
        if (
            self._components.weights and rung == self._components.proxy
        ):  # who ran further up is a graduate
            on_front = {one.variant_id for one in members}
            self._components.weights.prune(rung, on_front, self._is_recorded)

    def _members(self, rung: str) -> list[FrontMember]:
        return self._components.history.members(
            rung, self._components.scheduler.certification.proven()
        )

    def _is_recorded(self, variant_id: str) -> bool:
        return bool(self._components.history.rows(self._components.proxy, variant_id=variant_id))


def shortened(measurement: Measurement) -> Measurement:
    """A measurement without what only the store needs to keep: curve, documents, log."""
    return replace(measurement, curve=(), documents=(), log_tail="", facts={})


def describe(measurement: Measurement, history: RunHistory) -> str:
    """One line on a measurement: who, where, what it scored or why not."""
    request = measurement.request
    who = "seed" if request.variant_id == history.seed_id else request.variant_id[:8]
    where = f"{request.purpose} {who} on {rung_in_words(request.rung)} block {request.block}"
    if measurement.status is not Status.OK:
        return f"{where}: {measurement.status}, {measurement.reason}"
    if request.rung.endswith(ONE_STEP):
        rung, parameters = (
            request.rung.removesuffix(ONE_STEP),
            measurement.metrics.get("parameters"),
        )
        if parameters is None:  # of a command nothing is built
            return f"{who} is to run at {rung}"
        return f"built {who} at {rung}: {parameters:,.0f} parameters"
    objective = history.objectives[0].name
    score = measurement.metrics.get(objective, float("nan"))
    return f"{where}: {label(objective)} {score:.4f} ({measurement.wall_seconds:.0f} s)"
