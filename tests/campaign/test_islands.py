"""Islands breed apart, share the slots, pass on what is proven, and begin again where they stagnate."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from evo.proposals.islands import IslandProposers
from evo.search import islands as between
from evo.search.certification import Certification, CertificationSettings
from evo.search.islands import MIGRATION_EVERY, STAGNANT_CHILDREN
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings
from evo.search.scheduler import PolicySettings, Scheduler, SearchState
from operators.operator import Draft
from population.archive import VAL_BPB, Objective
from population.islands import MIGRATED, RESTARTED, Island, Islands, Members
from population.lineage import Lineage
from population.run_history import RunHistory
from population.types import (
    Decision,
    Measurement,
    MeasurementRow,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
)

POLICY = PolicySettings(seed_blocks=2, seed_repeats=0, race_share=0, final_blocks=0)
SIZE = Objective(name="parameters")


class Archipelago:
    """Islands by share, a scheduler over them, and scores by a rule: drives itself one run at a time."""

    def __init__(self, **shares: float) -> None:
        self.shares, self.decided = shares, list[Decision]()
        self.lineage = Lineage()
        self.lineage.add("seed", ())
        self.gains, self.size = {"seed": 0.0}, {"seed": 100.0}
        self.rows, self.ready = list[MeasurementRow](), list[str]()
        self.begin()

    def begin(self) -> None:
        """As another process would go on: from the rows and decisions alone."""
        self.history = RunHistory([VAL_BPB, SIZE], "seed", family=self.lineage)
        found = []
        for name, share in self.shares.items():
            members = Members("seed", self.lineage, set(self.shares) - {name})
            wanted = [SIZE, VAL_BPB] if name == "small" else [VAL_BPB, SIZE]
            found.append(Island(name, share, self.history.part(wanted, members), members))
        self.islands = Islands(found, self.lineage)
        for row in self.rows:
            self.history.add(row)
        none = CertificationSettings(attempts=0)
        self.scheduler = Scheduler(
            POLICY,
            self.history,
            "proxy",
            Certification(none, self.history, "proxy", self.decided),
            Graduation(GraduationSettings(), self.history, self.lineage, ["proxy"]),
            decided=self.decided,
            islands=self.islands,
        )

    def child(
        self, name: str, island: str, gain: float, size: float = 100.0, of: str = "seed"
    ) -> None:
        self.lineage.add(name, [Parent(of, "parent")], "made", island, self.history.last_id())
        self.gains[name], self.size[name] = gain, size
        self.ready.append(name)

    def run(self) -> RunRequest | None:
        step = self.scheduler.next(SearchState({}, tuple(self.ready)))
        self.decided += step.decisions
        for one in step.runs[:1]:
            self.measure(one)
            return one
        return None

    def measure(self, one: RunRequest) -> None:
        noise = 0.002 * ((7 * one.block + 3 * len(self.rows)) % 5)
        score = 2.0 - self.gains[one.variant_id] + noise
        metrics = {"val_bpb": score, "parameters": self.size[one.variant_id]}
        made = Measurement(one, Status.OK, metrics=metrics)
        self.rows.append(MeasurementRow(len(self.rows) + 1, made))
        self.history.add(self.rows[-1])
        if one.variant_id in self.ready:
            self.ready.remove(one.variant_id)

    def fill(self, island: str, many: int, gain: float = -0.5) -> None:
        """As many children that are no better, each measured."""
        for k in range(many):
            self.child(f"{island}-{len(self.rows)}-{k}", island, gain - 0.01 * k)
            while self.ready:
                self.run()

    def island(self, name: str) -> Island:
        return next(one for one in self.islands.all if one.name == name)

    def front(self, name: str) -> list[str]:
        return self.island(name).history.front("proxy")


def test_a_child_belongs_to_its_island_and_what_a_person_put_in_to_all() -> None:
    world = Archipelago(a=1, b=1)
    world.child("found", "a", 0.3)
    world.child("given", "", 0.2)
    while world.ready:
        world.run()
    assert world.front("a")[0] == "found" and world.front("b")[0] == "given"
    assert "found" not in world.front("b")
    assert world.history.front("proxy")[0] == "found", "the campaign's front is over all"
    parents = [one.variant_id for one in world.island("b").history.candidates("proxy")]
    assert set(parents) == {"seed", "given"}


def test_what_an_island_made_that_is_no_more_belongs_to_all() -> None:
    world = Archipelago(a=1, b=1)
    world.child("left", "gone", 0.3)
    while world.ready:
        world.run()
    assert world.front("a")[0] == world.front("b")[0] == "left"


def test_an_island_counts_what_it_is_to_improve() -> None:
    world = Archipelago(a=1, small=1)
    world.child("better", "", 0.3, size=300)
    world.child("smaller", "", 0.0, size=50)
    while world.ready:
        world.run()
    assert world.front("a")[0] == "better" and world.front("small")[0] == "smaller"


def test_each_island_has_its_share_of_the_runs() -> None:
    world = Archipelago(many=3, few=1)
    for k in range(200):
        world.child(f"m{k}", "many", 0.001 * k)
        world.child(f"f{k}", "few", 0.001 * k)
    for _ in range(130):
        world.run()
    used = between.runs_by_island(world.islands, "proxy")
    assert used["few"] > 25 and abs(used["many"] - 3 * used["few"]) <= 3
    repeated = world.history.rows("proxy", purposes={Purpose.REMEASURE})
    whose = Counter(world.islands.of(row.measurement.request.variant_id) for row in repeated)
    assert whose["many"] > whose["few"] > 2


def test_what_is_replicated_goes_round_and_another_process_knows_of_it() -> None:
    world = Archipelago(a=1, b=1)
    world.child("good", "a", 0.4)
    world.child("weak", "b", 0.01)
    while world.ready:
        world.run()
    assert "good" not in world.front("b")
    for k in itertools.count():
        world.child(f"x{k}", "ab"[k % 2], -0.3 - 0.001 * k)
        while world.ready:
            world.run()
        if any(one.kind == MIGRATED for one in world.decided):
            break
        assert k < 3 * MIGRATION_EVERY
    (moved,) = [one for one in world.decided if one.detail["island"] == "b"]
    assert moved.variant_id == "good" and moved.detail["from"] == "a"
    assert len(world.history.blocks("good", "proxy")) >= 4, "it was replicated first"
    searched = [
        row for row in world.rows if row.measurement.request.purpose is not Purpose.CALIBRATE
    ]
    assert len(searched) >= MIGRATION_EVERY
    assert world.front("b")[0] == "good"
    before = [world.front(name) for name in "ab"]
    world.begin()
    assert [world.front(name) for name in "ab"] == before


def test_a_round_of_migration_takes_one_of_each_island_and_comes_once_in_so_many_runs() -> None:
    world = Archipelago(a=1, b=1)
    world.child("better", "a", 0.4)
    world.child("smaller", "a", 0.2, size=50)
    while world.ready:
        world.run()
    for block in range(10, 14):
        for name in ("better", "smaller"):
            world.measure(RunRequest(name, "proxy", block, 0, Purpose.REMEASURE))
    assert {"better", "smaller"} <= set(world.front("a"))
    assert not [one for one in world.decided if one.kind == MIGRATED]
    for k in range(3 * MIGRATION_EVERY):
        world.child(f"x{k}", "ab"[k % 2], -0.3 - 0.001 * k)
        while world.ready:
            world.run()
    moved = [one for one in world.decided if one.kind == MIGRATED and one.detail["from"] == "a"]
    assert [one.variant_id for one in moved] == ["better", "smaller"], "each goes once"
    rounds = [one.detail["round"] for one in moved]
    assert rounds[0] < rounds[1], "two that are proven at once do not go at once"


def test_an_island_that_finds_nothing_begins_again_from_the_front_of_one_that_is_ahead() -> None:
    world = Archipelago(lost=1, ahead=1)
    for _ in range(6):  # blocks of the seed and of the best: the noise is known
        world.run()
    world.child("own", "lost", 0.05)
    world.child("best", "ahead", 0.6)
    while world.ready:
        world.run()
    world.fill("lost", STAGNANT_CHILDREN + 2)
    (again,) = [one for one in world.decided if one.kind == RESTARTED]
    assert (again.detail["island"], again.detail["from"]) == ("lost", "ahead")
    assert again.variant_id == "best" and world.front("lost")[0] == "best"
    assert "own" not in world.island("lost").members, "what it had is given up"
    assert "own" in world.lineage, "and still known"
    world.child("new", "lost", 0.7, of="best")
    while world.ready:
        world.run()
    assert world.front("lost")[0] == "new"
    before = world.front("lost")
    world.begin()
    assert world.front("lost") == before


def test_nobody_begins_again_where_nobody_is_ahead() -> None:
    world = Archipelago(a=1, b=1)
    world.fill("a", STAGNANT_CHILDREN + 10)
    assert not [one for one in world.decided if one.kind == RESTARTED]


class FakeProposer:
    """Makes a child each time, or none where `fails`."""

    def __init__(self, fails: bool = False, unavailable: bool = False) -> None:
        self.fails, self.unavailable = fails, unavailable

    def propose(self, number: int, as_of: int | None, may_ask: bool = True) -> Proposal:
        return Proposal(number, "made", (), Outcome.FAILED if self.fails else Outcome.VARIANT)

    def judge(
        self, number: int, operator: str, parents: tuple[Parent, ...], draft: Draft
    ) -> Proposal:
        return Proposal(number, operator, parents, Outcome.VARIANT)

    def is_unavailable(self, may_ask: bool = True) -> bool:
        return self.unavailable

    def answers_awaited(self) -> list[float]:
        return [1.0]


def proposed(proposers: dict[str, FakeProposer], many: int, **shares: float) -> Counter[str]:
    world = Archipelago(**shares)
    asked = IslandProposers(proposers, world.islands.all)
    assert asked.answers_awaited() == [1.0] * len(proposers)
    return Counter(asked.propose(k, None).island for k in range(many))


def test_islands_propose_by_their_shares() -> None:
    both = {"a": FakeProposer(), "b": FakeProposer()}
    assert proposed(both, 40, a=3, b=1) == {"a": 30, "b": 10}


@pytest.mark.parametrize("broken", [{"fails": True}, {"unavailable": True}])
def test_an_island_that_makes_nothing_keeps_no_other_from_its_turn(broken: dict[str, bool]) -> None:
    found = proposed({"a": FakeProposer(**broken), "b": FakeProposer()}, 40, a=1, b=1)
    assert found["b"] >= 30 and found["a"] == (6 if "fails" in broken else 0)
