"""A campaign tries the ideas of a bank: each once at a time, a chain from its beginning, with its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.effects_of_edits import ideas_with_effects
from evo.evaluation.slots import Slot, Unwatched
from evo.proposals.history import histories
from evo.runtime import proposal_lane
from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from operators.operator import RunState
from operators.transplant import Transplant
from population.archive import DEFAULT_OBJECTIVES, Constraint
from population.lineage import Lineage
from population.reading import measurements, proposals, source_of
from population.reading.idea_bank import BankIdea, IdeaEffect
from population.reading.memory import origin_of, transplanted_ideas
from population.run_history import RunHistory
from population.store import Store
from population.types import OURSELVES, Estimate, Outcome, Purpose, RunRequest, Status, variant_id
from tests.campaign.fakes import PROXY, SEED, FakeEvaluator, make_campaign, make_store


def idea(before: str, after: str, gain: float) -> BankIdea:
    effects = (IdeaEffect("val_bpb", "proxy", -gain, 3, sd=0.01),)
    return BankIdea(f"{before} -> {after}", before, after, effects=effects, bank="old")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bank that is empty soon has many failed proposals in a row, which a campaign waits after."""
    monkeypatch.setattr(proposal_lane, "MAX_WAIT_SECONDS", 0.0)


LOWER = idea(SEED, SEED.replace("0.5", "0.3"), 0.12)
LOWEST = idea(LOWER.after, SEED.replace("0.5", "0.1"), 0.04)
BROKEN = idea(SEED, SEED + "BROKEN = 1\n", 0.1)
USELESS = idea(SEED, SEED + "USELESS = 1\n", 0.05)


def broken(request: RunRequest, source: str) -> Status | None:
    return Status.CRASHED if "BROKEN" in source else None


def ran(path: Path, *ideas: BankIdea, exact: bool = False, variants: int = 8) -> Store:
    open_store = make_store(path)
    make_campaign(
        open_store,
        evaluator=FakeEvaluator(fails=broken),
        operators=[Transplant(ideas)],
        slots=1,
        budget=BudgetSettings(variants=variants),
        loop=LoopSettings(exact=exact, queue=1),
    ).run()
    return open_store()


def test_a_chain_is_climbed_and_every_child_tells_its_bank(tmp_path: Path) -> None:
    with ran(tmp_path / "c.db", LOWER, LOWEST, BROKEN, USELESS) as store:
        made = [one for one in proposals(store) if one.outcome is Outcome.VARIANT][1:]
        sources = [source_of(store, str(one.variant_id)) for one in made]
        assert any("LR = 0.1\n" in one for one in sources)
        assert {one.bank for one in made} == {"old"} and {one.author for one in made} == {OURSELVES}
        known = transplanted_ideas(store)
        assert set(known.values()) == {one.id for one in (LOWER, LOWEST, BROKEN, USELESS)}
        origin = origin_of(store, made[0].idea_id)
        assert origin is not None and origin["bank"] == "old" and "before" not in origin
        judged = {known[one.id]: one for one in ideas_with_effects(store, Record.of(store))}
        assert judged[BROKEN.id].failed == judged[BROKEN.id].children
        assert judged[LOWER.id].effect < -0.1  # type: ignore[operator]


def test_an_idea_whose_child_is_not_measured_yet_is_not_proposed_again(tmp_path: Path) -> None:
    open_store = make_store(tmp_path / "c.db")
    campaign = make_campaign(
        open_store,
        operators=[Transplant([LOWER])],
        slots=1,
        budget=BudgetSettings(variants=3),
        loop=LoopSettings(queue=3),
    )
    campaign.run()
    with open_store() as store:
        made = [one for one in proposals(store) if one.operator == "transplant"]
        outcomes = [one.outcome for one in made]
        assert outcomes.count(Outcome.VARIANT) == 1 and outcomes.count(Outcome.FAILED) > 1
        assert any("wait to be measured" in one.reason for one in made)


def test_exact_campaigns_make_the_same_transplants(tmp_path: Path) -> None:
    drawn = []
    for name in ("a.db", "b.db"):
        with ran(tmp_path / name, LOWER, LOWEST, BROKEN, USELESS, exact=True) as store:
            drawn.append([(one.variant_id, one.idea, one.reason) for one in proposals(store)])
    assert drawn[0] == drawn[1] and len(drawn[0]) > 4


def test_what_may_be_inherited_and_what_became_of_it_is_told_of_every_child(tmp_path: Path) -> None:
    with ran(tmp_path / "c.db", LOWER, BROKEN, variants=2) as store:
        lineage, history = Lineage.of(store), RunHistory(DEFAULT_OBJECTIVES, variant_id(SEED))
        for row in measurements(store, statuses=list(Status)):
            history.add(row)
        child = variant_id(LOWER.after)
        told = {
            one.idea: one
            for one in histories(history, lineage, "proxy")(store, None).transplants(child)
        }
        assert told[LOWER.id].state is RunState.SCORED and told[LOWER.id].effect < -0.1
        assert told[LOWER.id].inherited and not told[BROKEN.id].inherited
        assert told[BROKEN.id].state is RunState.FAILED
        before = histories(history, lineage, "proxy")(store, 0).transplants(child)
        assert {one.state for one in before} == {RunState.WAITING}


@pytest.mark.parametrize(("size", "told"), [(1900.0, False), (4100.0, True)])
def test_a_constraint_that_would_be_broken_is_named(
    tmp_path: Path, size: float, told: bool
) -> None:
    limit = Constraint(name="parameters", at_most="seed x 2")
    with make_store(tmp_path / "c.db")() as store:
        lineage = Lineage.of(store)
        history = RunHistory(DEFAULT_OBJECTIVES, variant_id(SEED), [limit], lineage)
        request = RunRequest(history.seed_id, PROXY.name, 0, 0, Purpose.CALIBRATE)
        store.add_measurement(
            FakeEvaluator().evaluate(request, SEED, Slot("s", "cpu", (0,)), Unwatched())
        )
        for row in measurements(store):
            history.add(row)
        asked = histories(history, lineage, "proxy")(store, None)
        found = asked.forbidden({"parameters": Estimate(size, 0.0, 1)})
        assert found == ("parameters at most seed x 2" if told else "")
