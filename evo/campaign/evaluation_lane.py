"""The evaluation lane: one thread a slot, which outlives every sandbox it starts."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Collection
from dataclasses import dataclass, replace

from evo.campaign.parts import LoopSettings, Parts, Shared, Stop
from evo.campaign.policy import given_up
from evo.campaign.proposal_lane import ProposalLane
from evo.campaign.tally import SEARCH, Key, Tally, key_of
from evo.evaluation.slots import Slot
from population.reading import source_of
from population.records import Measured
from population.variant import ONE_STEP, CurvePoint, Measurement, Order, Purpose, Status

POLL_SECONDS = 0.5


class EvaluationLane:
    """The slots' threads and what is under way in them."""

    def __init__(
        self, parts: Parts, settings: LoopSettings, shared: Shared, children: ProposalLane
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._shared = shared
        self._children = children
        self._under_way: dict[Key, Order] = {}
        self._threads: list[threading.Thread] = []
        self.approved: set[str] = set()

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

    # -- what to do next -----------------------------------------------------------------------------------

    def _work(self, slot: Slot) -> None:
        while (order := self._next_order()) is not None:
            self._measure(slot, order)

    def _next_order(self) -> Order | None:
        """The slot's next run; waits while one may come. None: nothing is left, or it must stop."""
        changed = self._shared.changed
        with changed:
            while self._shared.stop is Stop.NO:
                order = self._choose()
                if order is not None:
                    self._under_way[key_of(order)] = order
                    if order.purpose is Purpose.SCREEN:
                        self._children.ready.remove(order.variant_id)
                    changed.notify_all()
                    return order
                if self._search_is_over() and not self._under_way:
                    return None
                changed.wait(POLL_SECONDS)
        return None

    def _choose(self) -> Order | None:
        """The policy's duties in order; a later phase waits until the earlier one is recorded."""
        policy, taken = self._parts.policy, self._is_taken
        order = policy.calibrate(taken)
        if order is not None:
            return order
        if not self._search_is_over():
            return self._choose_search()
        if not self._settings.finish or self._is_under_way(SEARCH):
            return None
        order = policy.final(taken)
        if order is not None or self._is_under_way({Purpose.FINAL}):
            return order
        return self._parts.graduation.next_order(taken, self.approved)

    def _choose_search(self) -> Order | None:
        # An exact campaign decides only once the next child is known, so that timing decides nothing.
        if self._settings.exact and (self._is_under_way(SEARCH) or not self._children.ready):
            return None
        return self._parts.policy.search(self._children.ready, self._is_taken)

    def _search_is_over(self) -> bool:
        children = self._children
        nothing_waits = not children.ready or children.out_of_time
        return bool(children.closed) and children.idle and nothing_waits

    def _is_taken(self, key: Key) -> bool:
        tally = self._parts.tally
        return key in self._under_way or tally.measured(key) or given_up(tally, key)

    def _is_under_way(self, purposes: Collection[Purpose]) -> bool:
        return any(order.purpose in purposes for order in self._under_way.values())

    # -- one run -------------------------------------------------------------------------------------------

    def _measure(self, slot: Slot, order: Order) -> None:
        started, recorder = time.monotonic(), self._shared.recorder
        self._shared.board.slot_takes(slot.name, order)
        recorder.submit(lambda store: store.open_run(order, slot.name))
        measurement = self._evaluate(slot, order)
        if measurement.status is Status.LOST and self._shared.stop is Stop.NOW:
            recorder.write(lambda store: store.close_run(order))
        else:
            self._record(measurement)
        with self._shared.changed:
            del self._under_way[key_of(order)]
            if order.purpose is Purpose.SCREEN and not self._is_taken(key_of(order)):
                self._children.ready.appendleft(order.variant_id)
            self._children.evaluation_seconds.add(time.monotonic() - started)
            self._shared.board.slot_leaves(slot.name)
            self._shared.changed.notify_all()

    def _evaluate(self, slot: Slot, order: Order) -> Measurement:
        try:
            with self._parts.open_store() as store:
                source = source_of(store, order.variant_id)
            return self._parts.evaluator.evaluate(
                order, source, slot, _SlotWatch(self._shared, slot.name, order)
            )
        except Exception as error:  # noqa: BLE001 - border of the lane: our own fault is a lost attempt
            self._shared.say("error", f"evaluating broke: {traceback.format_exc(limit=-3)}")
            reason = f"{type(error).__name__}: {error}"
            return Measurement(order, Status.LOST, reason, slot=slot.name, started_at=time.time())

    def _record(self, measurement: Measurement) -> None:
        order, tally, recorder = measurement.order, self._parts.tally, self._shared.recorder
        row_id = recorder.write(lambda store: store.add_measurement(measurement))
        with self._shared.changed:
            tally.add(Measured(row_id, shortened(measurement)))
            if order.purpose is Purpose.SCREEN and measurement.status is not Status.LOST:
                self._children.settle(order.variant_id, row_id)
            failed = measurement.status not in (Status.OK, Status.LOST)
            if order.purpose is Purpose.CALIBRATE and failed:
                self._children.close(f"the seed {measurement.status}: {measurement.reason}")
        self._publish_front(order.rung)
        seconds = self._parts.budget.spent().seconds
        recorder.submit(lambda store: store.set_setting("seconds_spent", seconds))
        self._shared.say("measured", describe(measurement, tally))

    def _publish_front(self, rung: str) -> None:
        purposes = SEARCH if rung == self._parts.proxy else {Purpose.GRADUATE}
        members = self._parts.tally.members(rung, purposes)
        self._shared.recorder.submit(lambda store: store.set_front(rung, members))


@dataclass(frozen=True, slots=True)
class _SlotWatch:
    shared: Shared
    slot: str
    order: Order

    def started(self, pid: int, started_at: float) -> None:
        order = self.order
        self.shared.recorder.submit(lambda store: store.note_run_process(order, pid, started_at))

    def progress(self, point: CurvePoint) -> None:
        self.shared.board.slot_progress(self.slot, point)

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
