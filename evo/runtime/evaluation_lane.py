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
from evo.search.voiding import RunConditions, judged
from population.ladder import Role
from population.reading import source_of
from population.run_history import Key, RunHistory, key_of
from population.store import Store
from population.types import (
    AGAIN,
    DERIVED,
    ONE_STEP,
    FrontMember,
    Measurement,
    MeasurementRow,
    Purpose,
    RunRequest,
    Status,
)

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A run that was submitted: by the scheduler's order, since when, and what compares its curve."""

    order: RunRequest
    since: float
    followed: Following | None


class EvaluationLane:
    """One thread between scheduler and slots, and what is under way."""

    def __init__(
        self, parts: Components, settings: LoopSettings, shared: Shared, children: ProposalLane
    ) -> None:
        self._parts = parts
        self._shared = shared
        self._children = children
        self._under_way: dict[Key, _UnderWay] = {}
        self._decisions = Decisions(shared, parts.tally.seed_id)
        self._news = False  # something can be collected
        self._thread = threading.Thread(target=self._work, name="evaluate", daemon=True)

    def start(self) -> None:
        """Start the slots and the lane."""
        for rung in self._parts.tally.rungs():
            self._publish_front(rung)  # a kill may have come between a measurement and its front
        self._parts.slots.start(self._wake)
        self._thread.start()

    @property
    def working(self) -> bool:
        """Whether anything runs or may still come."""
        return self._thread.is_alive()

    def purposes(self) -> set[Purpose]:
        """What is under way, by purpose."""
        with self._shared.changed:
            return {one.order.purpose for one in self._under_way.values()}

    def veto(self, variant_ids: Collection[str]) -> None:
        """From now on these are neither parents nor front members."""
        self._parts.tally.veto(variant_ids)
        for rung in self._parts.tally.rungs():
            self._publish_front(rung)

    # -- the lane's thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        slots, changed = self._parts.slots, self._shared.changed
        try:
            while True:
                for event in slots.results():
                    self._take_in(event)
                self._fill_slots()
                with changed:
                    if not self._under_way and self._is_over():
                        return
                    if not self._news:
                        changed.wait(POLL_SECONDS)
                    self._news = False
        except Exception as error:  # noqa: BLE001 - border of the thread: a campaign never goes on maimed
            self._fail(error)
        finally:
            slots.close()

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
            self._parts.stopping.set()
            self._cancel_all()
            self._shared.changed.notify_all()

    def _cancel_all(self) -> None:
        for one in self._under_way.values():
            self._parts.slots.cancel(self._again(one.order))

    def _fill_slots(self) -> None:
        """Submit the scheduler's next runs while slots are free; a pair goes to one slot."""
        if self._shared.stop is Stop.NOW:
            self._cancel_all()
        while self._shared.stop is Stop.NO and self._parts.slots.capacity():
            with self._shared.changed:
                step = self._parts.scheduler.next(self._state())
                self._decisions.tell(step.decisions)
                for order in step.runs:
                    followed = self._follow(order)
                    self._under_way[key_of(order)] = _UnderWay(order, time.monotonic(), followed)
                    if self._is_first_run(order):
                        self._children.ready.remove(order.variant_id)
                if step.runs:
                    self._shared.changed.notify_all()
            if not step.runs:
                return
            self._submit([self._again(order) for order in step.runs])

    def _submit(self, orders: list[RunRequest]) -> None:
        """Hand runs to a slot. Without their source they are lost attempts: our own fault, tried again."""
        try:
            with self._parts.open_store() as store:
                runs = [(order, source_of(store, order.variant_id)) for order in orders]
        except Exception as error:  # noqa: BLE001 - border of the lane: our own fault is a lost attempt
            reason, fault = f"{type(error).__name__}: {error}", traceback.format_exc(limit=-3)
            for order in orders:
                lost = Measurement(order, Status.LOST, reason, started_at=time.time())
                self._take_in(RunEnded(lost, fault))
            return
        self._parts.slots.submit(runs)

    def _state(self) -> SearchState:
        under_way = {key: one.order for key, one in self._under_way.items()}
        return SearchState(under_way, tuple(self._children.ready), self._children.is_over)

    def _again(self, order: RunRequest) -> RunRequest:
        """The order as it is recorded: a row of its own for each time that one was voided."""
        voided = self._parts.tally.voided(order)
        return replace(order, repeat=order.repeat + AGAIN * voided) if voided else order

    def _is_first_run(self, order: RunRequest) -> bool:
        """Whether a child waits for this run, whatever it is made for: it need not be made twice."""
        tally, proxy = self._parts.tally, self._parts.proxy
        screen = Key(order.variant_id, proxy, 0, 0)
        return order.variant_id != tally.seed_id and key_of(order) == screen

    # -- one run -------------------------------------------------------------------------------------------

    def _take_in(self, event: SlotEvent) -> None:
        """What a slot told of a run."""
        recorder, monitor = self._shared.recorder, self._shared.board
        if isinstance(event, RunStarted):
            order, slot = event.order, event.slot
            self._announce(order)
            monitor.slot_takes(slot, order)
            recorder.submit(lambda store: store.open_run(order, slot))
        elif isinstance(event, RunProcess):
            order, pid, began = event.order, event.pid, event.started_at
            recorder.submit(lambda store: store.note_run_process(order, pid, began))
        elif isinstance(event, RunProgress):
            monitor.slot_progress(event.slot, event.point)
            followed = self._under_way[key_of(event.order)].followed
            if followed is not None:
                followed.hear(event.point)
                if followed.reason:
                    self._parts.slots.cancel(event.order, followed.reason)
        else:
            self._end(event)

    def _end(self, ended: RunEnded) -> None:
        measurement, order = ended.measurement, ended.measurement.order
        under_way = self._under_way[key_of(order)]
        if ended.fault:
            self._shared.say("error", f"evaluating broke: {ended.fault}")
        if measurement.status is Status.LOST and self._shared.stop is Stop.NOW:
            self._shared.recorder.write(lambda store: store.close_run(order))
        else:
            self._record(measurement, under_way.followed)
        with self._shared.changed:
            del self._under_way[key_of(order)]
            if self._is_first_run(order):
                is_over = self._parts.tally.is_settled(key_of(order))
                self._children.end_screen(order.variant_id, is_over)
            self._children.evaluation_seconds.add(time.monotonic() - under_way.since)
            if measurement.slot:
                self._shared.board.slot_leaves(measurement.slot)
            self._shared.changed.notify_all()

    def _announce(self, order: RunRequest) -> None:
        """A graduate's first run at an upper rung is its promotion."""
        tally, one, rung = self._parts.tally, order.variant_id, order.rung
        first = order.purpose is Purpose.GRADUATE and order.block == 0
        choice = self._parts.scheduler.graduation.ladder.choice(rung) if first else None
        if choice is None or tally.rows(rung, variant_id=one):
            return
        if one in (climber.variant_id for climber in choice.having(Role.GRADUATE)):
            self._shared.say("promotion", f"{one[:8]} goes up to {rung}")

    def _follow(self, order: RunRequest) -> Following | None:
        early = self._parts.early
        with self._shared.changed:
            return early.follow(order.variant_id, order.purpose) if early is not None else None

    def _record(self, measurement: Measurement, followed: Following | None) -> None:
        order, tally, recorder = measurement.order, self._parts.tally, self._shared.recorder
        # before its score is looked at by anyone: whether the run counts must not hang on it
        objection = judged(self._parts.voiding, measurement, tally.voided(order))
        if objection:
            self._void(measurement, objection)
            return
        row_id, measurement = recorder.write(lambda store: add_judged(store, measurement))
        with self._shared.changed:
            if self._parts.voiding is not None and measurement.status is Status.OK:
                self._parts.voiding.take_in(RunConditions.of(measurement))
            tally.add(MeasurementRow(row_id, shortened(measurement)))
            if order.purpose is Purpose.SCREEN and measurement.status is not Status.LOST:
                self._children.settle(order.variant_id, row_id)
            if self._parts.early is not None:
                would_stop = self._parts.early.take_in(measurement, followed)
                self._decisions.tell([would_stop] if would_stop is not None else [])
            self._decisions.tell(self._parts.scheduler.tell(order))
            failed = measurement.status not in (Status.OK, Status.LOST)
            if order.purpose is Purpose.CALIBRATE and failed:
                self._children.close(f"the seed {measurement.status}: {measurement.reason}")
        self._publish_front(order.rung)
        seconds = self._parts.budget.spent().seconds
        recorder.submit(lambda store: store.set_setting("seconds_spent", seconds))
        self._shared.say("measured", describe(measurement, tally))

    def _void(self, measurement: Measurement, reason: str) -> None:
        """Record a run that does not count; it will be made again."""

        def write(store: Store) -> None:
            with store.transaction():
                store.void(store.add_measurement(measurement), reason)

        self._shared.recorder.write(write)
        self._parts.tally.void(measurement.order)
        order = measurement.order
        self._shared.say(
            "voided", f"{order.purpose} {order.variant_id[:8]} does not count: {reason}"
        )

    def _publish_front(self, rung: str) -> None:
        if DERIVED in rung:
            return  # what was only built has no score; shares of a budget have no front
        with self._shared.changed:  # fronts are written in the order of the rows they rest on
            members = self._members(rung)
            self._shared.recorder.submit(lambda store: store.set_front(rung, members))
        if self._parts.weights and rung == self._parts.proxy:  # who ran further up is a graduate
            on_front = {one.variant_id for one in members}
            self._parts.weights.prune(rung, on_front, self._is_recorded)

    def _members(self, rung: str) -> list[FrontMember]:
        return self._parts.tally.members(rung, self._parts.scheduler.certification.proven())

    def _is_recorded(self, variant_id: str) -> bool:
        return bool(self._parts.tally.rows(self._parts.proxy, variant_id=variant_id))


def shortened(measurement: Measurement) -> Measurement:
    """A measurement without what only the store needs to keep: curve, documents, log."""
    return replace(measurement, curve=(), documents=(), log_tail="", facts={})


def describe(measurement: Measurement, tally: RunHistory) -> str:
    """One line on a measurement: who, where, what it scored or why not."""
    order = measurement.order
    who = "seed" if order.variant_id == tally.seed_id else order.variant_id[:8]
    where = f"{order.purpose} {who} on {order.rung} block {order.block}"
    if measurement.status is not Status.OK:
        return f"{where}: {measurement.status}, {measurement.reason}"
    if order.rung.endswith(ONE_STEP):
        parameters = measurement.metrics.get("parameters", 0.0)
        return f"built {who} at {order.rung.removesuffix(ONE_STEP)}: {parameters:,.0f} parameters"
    objective = tally.objectives[0].name
    score = measurement.metrics.get(objective, float("nan"))
    return f"{where}: {objective} {score:.4f} ({measurement.wall_seconds:.0f} s)"
