"""The evaluation lane: one thread a slot, which outlives every sandbox it starts."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Collection
from dataclasses import dataclass, replace

from evo.campaign.deciding import Decisions
from evo.campaign.judging import add_judged
from evo.campaign.parts import LoopSettings, Parts, Shared, Stop
from evo.campaign.proposal_lane import ProposalLane
from evo.campaign.scheduler import SearchState
from evo.campaign.stopping import Following
from evo.campaign.tally import Key, Tally, key_of
from evo.campaign.voiding import Evidence, judged
from evo.evaluation.slots import Slot
from population.ladder import Role
from population.reading import source_of
from population.records import Measured
from population.store import Store
from population.variant import (
    AGAIN,
    DERIVED,
    ONE_STEP,
    CurvePoint,
    Measurement,
    Order,
    Purpose,
    Status,
)

POLL_SECONDS = 0.5


class EvaluationLane:
    """The slots' threads and what is under way in them."""

    def __init__(
        self, parts: Parts, settings: LoopSettings, shared: Shared, children: ProposalLane
    ) -> None:
        self._parts = parts
        self._shared = shared
        self._children = children
        self._under_way: dict[Key, Order] = {}
        self._decisions = Decisions(shared, parts.tally.seed_id)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start one thread a slot."""
        for rung in self._parts.tally.rungs():
            self._publish_front(rung)  # a kill may have come between a measurement and its front
        for slot in self._parts.slots:
            thread = threading.Thread(target=self._work, args=(slot,), name=slot.name, daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def working(self) -> bool:
        """Whether any slot's thread is alive."""
        return any(thread.is_alive() for thread in self._threads)

    def purposes(self) -> set[Purpose]:
        """What is under way, by purpose."""
        with self._shared.changed:
            return {order.purpose for order in self._under_way.values()}

    def veto(self, variant_ids: Collection[str]) -> None:
        """From now on these are neither parents nor front members."""
        self._parts.tally.veto(variant_ids)
        for rung in self._parts.tally.rungs():
            self._publish_front(rung)

    # -- the slots' threads --------------------------------------------------------------------------------

    def _work(self, slot: Slot) -> None:
        try:
            while orders := self._next_orders():
                for order in orders:
                    self._measure(slot, order)
        except Exception as error:  # noqa: BLE001 - border of the thread: a campaign never goes on maimed
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Without a slot, or a store that takes measurements, ending is all that is left."""
        with self._shared.changed:
            self._shared.failure = self._shared.failure or f"{type(error).__name__}: {error}"
            self._shared.stop = Stop.NOW
            self._parts.stopping.set()
            self._shared.changed.notify_all()

    def _next_orders(self) -> tuple[Order, ...]:
        """The slot's next run, or a pair of them; waits while one may come. Empty: nothing is left."""
        changed = self._shared.changed
        with changed:
            while self._shared.stop is Stop.NO:
                state = self._state()
                step = self._parts.scheduler.next(state)
                self._decisions.tell(step.decisions)
                for order in step.runs:
                    self._under_way[key_of(order)] = order
                    if self._is_first_run(order):
                        self._children.ready.remove(order.variant_id)
                if step.runs:
                    changed.notify_all()
                    return tuple(self._again(order) for order in step.runs)
                if state.search_is_over and not self._under_way:
                    return ()
                changed.wait(POLL_SECONDS)
        return ()

    def _state(self) -> SearchState:
        return SearchState(self._under_way, tuple(self._children.ready), self._children.is_over)

    def _again(self, order: Order) -> Order:
        """The order as it is recorded: a row of its own for each time that one was voided."""
        voided = self._parts.tally.voided(order)
        return replace(order, repeat=order.repeat + AGAIN * voided) if voided else order

    def _is_first_run(self, order: Order) -> bool:
        """Whether a child waits for this run, whatever it is made for: it need not be made twice."""
        tally, proxy = self._parts.tally, self._parts.proxy
        screen = Key(order.variant_id, proxy, 0, 0)
        return order.variant_id != tally.seed_id and key_of(order) == screen

    # -- one run -------------------------------------------------------------------------------------------

    def _measure(self, slot: Slot, order: Order) -> None:
        started, recorder = time.monotonic(), self._shared.recorder
        self._announce(order)
        self._shared.board.slot_takes(slot.name, order)
        recorder.submit(lambda store: store.open_run(order, slot.name))
        followed = self._follow(order)
        measurement = self._evaluate(slot, order, followed)
        if measurement.status is Status.LOST and self._shared.stop is Stop.NOW:
            recorder.write(lambda store: store.close_run(order))
        else:
            self._record(measurement, followed)
        with self._shared.changed:
            del self._under_way[key_of(order)]
            if self._is_first_run(order):
                is_over = self._parts.tally.is_settled(key_of(order))
                self._children.end_screen(order.variant_id, is_over)
            self._children.evaluation_seconds.add(time.monotonic() - started)
            self._shared.board.slot_leaves(slot.name)
            self._shared.changed.notify_all()

    def _announce(self, order: Order) -> None:
        """A graduate's first run at an upper rung is its promotion."""
        tally, one, rung = self._parts.tally, order.variant_id, order.rung
        first = order.purpose is Purpose.GRADUATE and order.block == 0
        choice = self._parts.scheduler.graduation.ladder.choice(rung) if first else None
        if choice is None or tally.rows(rung, variant_id=one):
            return
        if one in (climber.variant_id for climber in choice.having(Role.GRADUATE)):
            self._shared.say("promotion", f"{one[:8]} goes up to {rung}")

    def _follow(self, order: Order) -> Following | None:
        early = self._parts.early
        with self._shared.changed:
            return early.follow(order.variant_id, order.purpose) if early is not None else None

    def _evaluate(self, slot: Slot, order: Order, followed: Following | None) -> Measurement:
        try:
            with self._parts.open_store() as store:
                source = source_of(store, order.variant_id)
            watch = _SlotWatch(self._shared, slot.name, order, followed)
            return self._parts.evaluator.evaluate(order, source, slot, watch)
        except Exception as error:  # noqa: BLE001 - border of the lane: our own fault is a lost attempt
            self._shared.say("error", f"evaluating broke: {traceback.format_exc(limit=-3)}")
            reason = f"{type(error).__name__}: {error}"
            return Measurement(order, Status.LOST, reason, slot=slot.name, started_at=time.time())

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
                self._parts.voiding.take_in(Evidence.of(measurement))
            tally.add(Measured(row_id, shortened(measurement)))
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
        members = self._parts.tally.members(rung, self._parts.scheduler.certification.proven())
        self._shared.recorder.submit(lambda store: store.set_front(rung, members))
        if self._parts.weights and rung == self._parts.proxy:  # who ran further up is a graduate
            on_front = {one.variant_id for one in members}
            self._parts.weights.prune(rung, on_front, self._is_recorded)

    def _is_recorded(self, variant_id: str) -> bool:
        return bool(self._parts.tally.rows(self._parts.proxy, variant_id=variant_id))


@dataclass(frozen=True, slots=True)
class _SlotWatch:
    shared: Shared
    slot: str
    order: Order
    followed: Following | None

    def started(self, pid: int, started_at: float) -> None:
        order = self.order
        self.shared.recorder.submit(lambda store: store.note_run_process(order, pid, started_at))

    def progress(self, point: CurvePoint) -> None:
        self.shared.board.slot_progress(self.slot, point)
        if self.followed is not None:
            self.followed.hear(point)

    def hopeless(self) -> str:
        return self.followed.reason if self.followed is not None else ""

    def stopping(self) -> bool:
        return self.shared.stop is Stop.NOW


def shortened(measurement: Measurement) -> Measurement:
    """A measurement without what only the store needs to keep: curve, documents, log."""
    return replace(measurement, curve=(), documents=(), log_tail="", facts={})


def describe(measurement: Measurement, tally: Tally) -> str:
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
