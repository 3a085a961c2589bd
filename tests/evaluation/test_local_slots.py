"""Runs are submitted and collected; a thread a slot carries them out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from evo.evaluation.local_slots import (
    LocalSlots,
    RunEnded,
    RunProcess,
    RunProgress,
    RunStarted,
    SlotEvent,
)
from evo.evaluation.slots import Slot, Watch
from population.types import CurvePoint, Measurement, Purpose, RunRequest, Status

HANG_SECONDS = 60.0


def run(name: str, block: int = 0) -> tuple[RunRequest, str]:
    return RunRequest(name, "proxy", block, 0, Purpose.SCREEN), f"source of {name}"


@dataclass
class FakeEvaluator:
    """Evaluates when it is let; notes who ran where, and what it was told of its end."""

    go: threading.Event = field(default_factory=threading.Event)
    ran: list[tuple[str, str, str]] = field(default_factory=list)
    breaks: bool = False

    def evaluate(self, request: RunRequest, source: str, slot: Slot, watch: Watch) -> Measurement:
        self.ran.append((request.variant_id, slot.name, source))
        watch.started(7, 1.5)
        watch.progress(CurvePoint(0.5, 2.0, 100))
        while not self.go.wait(0.005):
            if watch.stopping():
                return Measurement(request, Status.LOST, "stopped on request", slot=slot.name)
            if reason := watch.hopeless():
                return Measurement(request, Status.STOPPED, reason, slot=slot.name)
        if self.breaks:
            raise RuntimeError("a fault of our own")
        return Measurement(request, Status.OK, metrics={"val_bpb": 1.0}, slot=slot.name)


class Driver:
    """Slots, and everything that they told."""

    def __init__(self, evaluator: FakeEvaluator, many: int) -> None:
        self.news = threading.Condition()
        self.events: list[SlotEvent] = []
        self.slots = LocalSlots(evaluator, [Slot(f"slot{k}", "cpu", (0,)) for k in range(many)])
        self.slots.start(self.wake)

    def wake(self) -> None:
        with self.news:
            self.news.notify_all()

    def until(self, found: Callable[[], bool]) -> None:
        with self.news:
            while self.collect() and not found():
                assert self.news.wait(HANG_SECONDS), "nothing was told"

    def collect(self) -> bool:
        self.events += self.slots.results()
        return True

    def ended(self) -> list[Measurement]:
        return [one.measurement for one in self.events if isinstance(one, RunEnded)]

    def told(self, kind: type) -> bool:
        return any(isinstance(one, kind) for one in self.events)


@pytest.fixture
def evaluator() -> FakeEvaluator:
    return FakeEvaluator()


@pytest.fixture
def one(evaluator: FakeEvaluator) -> Iterator[Driver]:
    driver = Driver(evaluator, 1)
    yield driver
    evaluator.go.set()
    driver.slots.close()


def test_a_run_is_told_from_its_start_to_its_end_in_order(
    one: Driver, evaluator: FakeEvaluator
) -> None:
    evaluator.go.set()
    one.slots.submit([run("a")])
    one.until(lambda: one.told(RunEnded))
    assert [type(event) for event in one.events] == [RunStarted, RunProcess, RunProgress, RunEnded]
    assert one.ended()[0].metrics == {"val_bpb": 1.0}
    assert evaluator.ran == [("a", "slot0", "source of a")]


def test_a_pair_goes_to_one_slot_one_after_the_other(evaluator: FakeEvaluator) -> None:
    driver = Driver(evaluator, 2)
    evaluator.go.set()
    driver.slots.submit([run("a"), run("b")])
    driver.until(lambda: len(driver.ended()) == 2)
    assert [name for name, _, _ in evaluator.ran] == ["a", "b"]
    assert len({slot for _, slot, _ in evaluator.ran}) == 1
    driver.slots.close()


def test_a_slot_has_no_capacity_until_all_it_was_given_has_ended(
    one: Driver, evaluator: FakeEvaluator
) -> None:
    assert one.slots.capacity() == 1
    one.slots.submit([run("a"), run("b")])
    assert one.slots.capacity() == 0
    with pytest.raises(ValueError, match="no slot is free"):
        one.slots.submit([run("c")])
    evaluator.go.set()
    one.until(lambda: len(one.ended()) == 2)
    assert one.slots.capacity() == 1


def test_a_run_cancelled_for_a_reason_is_stopped_and_one_without_is_lost(
    evaluator: FakeEvaluator,
) -> None:
    driver = Driver(evaluator, 2)
    (first, _), (second, _) = run("a"), run("b")
    driver.slots.submit([run("a")])
    driver.slots.submit([run("b")])
    driver.until(lambda: sum(isinstance(one, RunProgress) for one in driver.events) == 2)
    driver.slots.cancel(first, "its loss is above its peers' median")
    driver.slots.cancel(second)
    driver.until(lambda: len(driver.ended()) == 2)
    found = {one.request.variant_id: (one.status, one.reason) for one in driver.ended()}
    assert found == {
        "a": (Status.STOPPED, "its loss is above its peers' median"),
        "b": (Status.LOST, "stopped on request"),
    }
    driver.slots.close()


def test_what_waits_in_a_slot_is_lost_without_a_start_once_it_is_cancelled(
    one: Driver, evaluator: FakeEvaluator
) -> None:
    one.slots.submit([run("a"), run("b")])
    one.until(lambda: one.told(RunProgress))
    one.slots.cancel(run("b")[0])
    evaluator.go.set()
    one.until(lambda: len(one.ended()) == 2)
    assert [name for name, _, _ in evaluator.ran] == ["a"]
    assert one.ended()[1].status is Status.LOST


def test_an_evaluator_that_breaks_is_a_lost_run_with_its_traceback_and_the_slot_goes_on(
    one: Driver, evaluator: FakeEvaluator
) -> None:
    evaluator.go.set()
    evaluator.breaks = True
    one.slots.submit([run("a")])
    one.until(lambda: one.told(RunEnded))
    (end,) = [event for event in one.events if isinstance(event, RunEnded)]
    assert (end.measurement.status, end.measurement.reason) == (
        Status.LOST,
        "RuntimeError: a fault of our own",
    )
    assert "Traceback" in end.fault
    evaluator.breaks = False
    one.slots.submit([run("b")])
    one.until(lambda: len(one.ended()) == 2)
    assert one.ended()[1].status is Status.OK


def test_slots_that_are_closed_end_their_threads_after_what_runs(evaluator: FakeEvaluator) -> None:
    before = threading.active_count()
    driver = Driver(evaluator, 3)
    driver.slots.submit([run("a")])
    driver.slots.close()
    evaluator.go.set()
    driver.until(lambda: len(driver.ended()) == 1)
    for thread in threading.enumerate():
        if thread.name.startswith("slot"):
            thread.join(HANG_SECONDS)
    assert threading.active_count() <= before


def test_a_slot_is_free_only_once_the_end_of_its_run_was_collected(
    one: Driver, evaluator: FakeEvaluator
) -> None:
    evaluator.go.set()
    one.slots.submit([run("a")])
    with one.news:  # told, and not collected
        while not any(isinstance(event, RunEnded) for event in one.slots._events):
            assert one.news.wait(HANG_SECONDS)
    assert one.slots.capacity() == 0
    one.until(lambda: one.told(RunEnded))
    assert one.slots.capacity() == 1
