"""How many proposals are in flight: few enough to be fresh, enough for the slots, none of them blind."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evo.evaluation.slots import Slot, Unwatched
from evo.search.proposal_flow import (
    MAX_IN_FLIGHT,
    ProposalFlow,
    RecentSeconds,
    Wanted,
    expected_answer_seconds,
)
from evo.search.scheduler import SearchState
from operators.operator import Draft, ParentRule, Request
from population.reading import source_of
from population.types import MeasurementRow, Outcome, Proposal, Purpose, RunKey, RunRequest
from tests.campaign.fakes import FakeEvaluator, FakeOperator, make_campaign, make_store


def test_before_any_answer_no_more_are_asked_than_slots_and_queue_hold() -> None:
    flow = ProposalFlow(slots=2, queue=2, answers_awaited=[0.0] * 3, evaluation_seconds=20)
    assert flow.wanted() is Wanted.ANY
    flow = ProposalFlow(slots=2, queue=2, answers_awaited=[0.0] * 4, evaluation_seconds=20)
    assert flow.max_in_flight == 4 and flow.wanted() is Wanted.WITHOUT_MODEL


def test_an_answer_that_is_awaited_for_forty_seconds_takes_at_least_forty() -> None:
    assert expected_answer_seconds([], [40.0, 1.0]) == 40.0
    assert expected_answer_seconds([10.0], [40.0, 1.0]) == 25.0
    assert expected_answer_seconds([10.0, 10.0], [4.0]) == 10.0
    assert expected_answer_seconds([], []) == 0.0
    flow = ProposalFlow(2, 2, answers_awaited=[40.0] * 4, evaluation_seconds=20)
    assert flow.max_in_flight == 2 + 2 + 2 * 40 / 20


def test_operators_that_compute_for_long_are_begun_ahead_of_need() -> None:
    flow = ProposalFlow(2, 1, computing_seconds=3.0, evaluation_seconds=1.0)
    assert flow.max_in_flight == 2 + 1 + 2 * 3


def test_with_children_at_hand_for_all_slots_nothing_is_made_only_to_fill_them() -> None:
    asked = [5.0] * 4
    flow = ProposalFlow(2, 2, ready=1, computing=1, answers_awaited=asked, evaluation_seconds=20)
    assert flow.wanted() is Wanted.NOTHING
    flow = ProposalFlow(2, 2, ready=1, computing=0, answers_awaited=asked, evaluation_seconds=20)
    assert flow.wanted() is Wanted.WITHOUT_MODEL


def test_no_model_is_asked_while_no_parent_has_a_score() -> None:
    flow = ProposalFlow(2, 2, is_scored=False, evaluation_seconds=None)
    assert flow.wanted() is Wanted.WITHOUT_MODEL
    assert ProposalFlow(2, 2, ready=2, is_scored=False).wanted() is Wanted.NOTHING


def test_however_slow_a_model_is_there_is_an_end() -> None:
    flow = ProposalFlow(8, 2, answers_awaited=[4000.0] * MAX_IN_FLIGHT, evaluation_seconds=1)
    assert flow.wanted() is Wanted.NOTHING


def test_the_mean_is_of_the_last_ten() -> None:
    seconds = RecentSeconds()
    assert seconds.mean is None
    for value in range(20):
        seconds.add(float(value))
    assert seconds.mean == sum(range(10, 20)) / 10


@dataclass
class FakeModel:
    """Improves the parent a little; its answer comes as late as the test says."""

    name: str = "llm_mutate"
    parent_rule: ParentRule = ParentRule.ONE
    seen: list[Request] = field(default_factory=list)
    counter: itertools.count[int] = field(default_factory=itertools.count)

    def propose(self, request: Request) -> Draft:
        self.seen.append(request)
        values: dict[str, float] = {}
        exec(request.parent("parent").source, values)
        rate = 0.1 + (values["LR"] - 0.1) * float(request.rng.uniform(0.6, 1.1))
        idea = f"idea {next(self.counter)}"
        return Draft(f"LR = {rate:.9f}\nDEPTH = 2\n", idea, author="model")


class Simulation:
    """A campaign's own scheduler and proposer by a clock that only counts."""

    def __init__(self, folder: Path, model: FakeModel, children: int, answer: float) -> None:
        self.open_store = make_store(folder / "campaign.db")
        operators = [model, FakeOperator(name="nudge")]
        self.components = make_campaign(self.open_store, operators=operators).components
        self.model, self.children, self.answer, self.evaluation = model, children, answer, 20.0
        self.now, self.events, self.order = (
            0.0,
            list[tuple[float, int, object]](),
            itertools.count(),
        )
        self.asked: dict[int, float] = {}
        self.computing, self.ready = set[int](), list[str]()
        self.under_way: dict[RunKey, RunRequest] = {}
        self.answers, self.runs = RecentSeconds(), RecentSeconds()
        self.in_flight, self.busy, self.number = 0, 0.0, 1
        self.screens: list[float] = []

    def flow(self) -> ProposalFlow:
        history = self.components.history
        return ProposalFlow(
            2,
            2,
            len(self.ready),
            len(self.computing),
            [self.now - since for since in self.asked.values()],
            self.answers.values,
            0.2,
            self.runs.mean,
            bool(history.rows("proxy", variant_id=history.seed_id)),
        )

    def run(self) -> None:
        while True:
            self.top_up()
            self.fill_slots()
            if not self.events:
                return
            self.now, _, event = heapq.heappop(self.events)
            self.take_in(event)

    def at(self, seconds: float, event: object) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), event))

    def top_up(self) -> None:
        while self.number <= self.children and (wanted := self.flow().wanted()):
            if wanted is Wanted.NOTHING:
                return
            self.number += 1
            asked_before = len(self.model.seen)
            made = self.components.proposer.propose(self.number, None, wanted is Wanted.ANY)
            if len(self.model.seen) > asked_before:
                self.asked[made.number] = self.now
                self.at(self.answer, made)
            else:
                self.computing.add(made.number)
                self.at(0.2, made)
            self.in_flight = max(self.in_flight, self.flow().in_flight)

    def fill_slots(self) -> None:
        while len(self.under_way) < 2:
            over = self.number > self.children and not (self.ready or self.asked or self.computing)
            state = SearchState(self.under_way, tuple(self.ready), over)
            step = self.components.scheduler.next(state)
            if not step.runs:
                return
            for request in step.runs:
                self.under_way[request.key] = request
                if request.purpose is Purpose.SCREEN:
                    self.ready.remove(request.variant_id)
                    self.screens.append(self.now)
                self.at(self.evaluation, request)

    def take_in(self, event: object) -> None:
        with self.open_store() as store:
            if isinstance(event, Proposal):
                if self.asked.pop(event.number, None) is not None:
                    self.answers.add(self.answer)
                self.computing.discard(event.number)
                store.add_proposal(event)
                assert event.outcome is Outcome.VARIANT and event.variant is not None
                self.components.lineage.add(event.variant.id, event.parents, event.operator)
                self.ready.append(event.variant.id)
                return
            assert isinstance(event, RunRequest)
            source = source_of(store, event.variant_id)
            slot = Slot("slot0", "cpu", (0,))
            measured = FakeEvaluator().evaluate(event, source, slot, Unwatched())
            row = store.add_measurement(measured)
        del self.under_way[event.key]
        self.busy += self.evaluation
        self.runs.add(self.evaluation)
        self.components.history.add(MeasurementRow(row, measured))
        self.components.scheduler.tell(event)


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[[float], tuple[Simulation, FakeModel]]:
    def run(answer: float) -> tuple[Simulation, FakeModel]:
        model = FakeModel()
        simulation = Simulation(tmp_path, model, 60, answer)
        simulation.run()
        return simulation, model

    return run


def test_a_model_of_a_minute_floods_nothing_and_leaves_no_slot_idle(
    simulate: Callable[[float], tuple[Simulation, FakeModel]],
) -> None:
    found, model = simulate(60.0)
    assert found.in_flight <= 10
    history = found.components.history
    parents = Counter(
        found.components.lineage.parents_of(one)[0]
        for one in history.beliefs("proxy")
        if one != history.seed_id
    )
    assert sum(parents.values()) == 60
    assert parents[history.seed_id] <= 0.25 * 60, parents[history.seed_id]
    assert found.busy / (2 * (found.now - found.evaluation)) >= 0.95
    assert all(request.parent("parent").estimates for request in model.seen), "asked about no score"


def test_a_prompt_tells_what_is_tried_now_and_no_two_that_are_awaited_are_alike(
    simulate: Callable[[float], tuple[Simulation, FakeModel]],
) -> None:
    _, model = simulate(60.0)
    told = [(request.context.awaited, request.context.under_way) for request in model.seen]
    assert any(under_way for _, under_way in told)
    for request in model.seen:
        tried = {one.idea for one in request.context.tried}
        assert not tried & {one.idea for one in request.context.under_way}, (
            "measured, yet under way"
        )
