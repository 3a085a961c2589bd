"""What operators learn of the past: every measurement of a structure, as a proposal may see it."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace

from evo.evaluation.slots import Slot, Unwatched
from evo.proposals.context import CampaignInfo, ContextBuilder, trade_in_words
from evo.proposals.history import histories
from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from operators.nudge import Nudge
from operators.operator import Draft, ParentRule, Request, RunState
from operators.portfolio import Mode, PortfolioSettings
from operators.prompting import nearby
from operators.revert import Revert
from operators.source.knobs import with_knobs
from operators.tune import Tune
from population.archive import DEFAULT_OBJECTIVES, Constraint, Objective
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import measurements, proposals, source_of
from population.run_history import RunHistory
from population.selection import Candidate, within_reach
from population.types import (
    Measurement,
    MeasurementRow,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store

SOURCE = """LR = 0.5  # knob: log 0.01 1
DEPTH = 2
DECAY = 0.1  # knob: float 0 1
MOMENTUM = 0.9  # knob: float 0.5 1
"""


class FakeEdit:
    """Changes the structure, once by a number each time."""

    name = "edit"
    parent_rule = ParentRule.ONE

    def propose(self, request: Request) -> Draft:
        source = request.parent("parent").source
        return Draft(f"{source}x{request.number} = {request.number}\n", f"edit {request.number}")


def test_tune_is_told_what_others_measured_and_revert_finds_its_line(tmp_path):
    open_store = make_store(tmp_path / "campaign.db", SOURCE)
    operators = [Tune(), Nudge(), FakeEdit(), Revert()]
    make_campaign(
        open_store,
        operators=operators,
        budget=BudgetSettings(variants=70),
        portfolio=PortfolioSettings(mode=Mode.FIXED),
    ).run()
    with open_store() as store:
        made = proposals(store)
    tuned = [one for one in made if one.operator == "tune" and one.outcome is Outcome.VARIANT]
    found = [re.search(r"(\d+) runs? told", one.idea) for one in tuned]
    told = [int(one[1]) for one in found if one]  # nothing is said where nothing was told
    assert max(told) > 3
    assert any(one.operator == "revert" and one.outcome is Outcome.VARIANT for one in made)


def test_it_is_the_same_again_in_an_exact_campaign(tmp_path):
    def ideas(folder):
        folder.mkdir()
        open_store = make_store(folder / "campaign.db", SOURCE)
        make_campaign(
            open_store,
            operators=[Tune(), Nudge(), FakeEdit(), Revert()],
            budget=BudgetSettings(variants=25),
            slots=1,
            loop=LoopSettings(exact=True),
        ).run()
        with open_store() as store:
            return [(one.operator, one.idea, one.variant_id) for one in proposals(store)]

    assert ideas(tmp_path / "a") == ideas(tmp_path / "b")


def test_settings_show_no_more_than_a_proposal_may_see(tmp_path):
    open_store = make_store(tmp_path / "campaign.db", SOURCE)
    make_campaign(open_store, operators=[Nudge()], budget=BudgetSettings(variants=8)).run()
    with open_store() as store:
        rows = measurements(store, statuses=list(Status))
        lineage = Lineage.of(store)
        seed_id = lineage.after(0)[0]
        run_history = RunHistory(DEFAULT_OBJECTIVES, seed_id)
        for row in rows:
            run_history.add(row)
        history = histories(run_history, lineage, "proxy")
        every = history(store, None).settings(seed_id)
        early = history(store, rows[1].id).settings(seed_id)
        assert [one.state for one in early] == [RunState.SCORED] + [RunState.WAITING] * 8
        assert all(one.state is RunState.SCORED and one.own for one in every)
        assert every[0].constants == {"LR": 0.5, "DEPTH": 2, "DECAY": 0.1, "MOMENTUM": 0.9}
        assert math.isclose(every[0].value, run_history.believed(seed_id, "proxy")["val_bpb"].mean)
        assert history(store, None).known(SOURCE + "# a remark\n")
        assert not history(store, None).known(with_knobs(SOURCE, {"LR": 0.123}))


class FakeModel(FakeEdit):
    """Sets LR of whatever parent it gets, and keeps what a model would have been shown."""

    name = "model"

    def __init__(self) -> None:
        self.shown: list[list[str]] = []

    def propose(self, request: Request) -> Draft:
        self.shown.append(nearby(request))
        source = request.parent("parent").source
        return Draft(with_knobs(source, {"LR": 0.5 + request.number / 100}), "LR")


def test_a_near_repeat_of_a_relatives_child_is_shown_as_measured_before_it_is_proposed(tmp_path):
    open_store, model = make_store(tmp_path / "campaign.db", SOURCE), FakeModel()
    make_campaign(
        open_store,
        operators=[model],
        budget=BudgetSettings(variants=6),
        slots=1,
        loop=LoopSettings(exact=True),
    ).run()
    last = model.shown[-1]
    assert len(last) >= 3 and all("LR = 0.5" in one for one in last)
    change = r"- [\d.]+ -> [\d.]+, [+-][\d.e-]+ ± [\d.e-]+ \(n = \d+\)"
    assert all(re.match(change, one) for one in last)


def test_a_prompt_holds_the_campaigns_constraints_with_the_seeds_numbers_in_them(tmp_path):
    open_store = make_store(tmp_path / "c.db")
    campaign = make_campaign(open_store, budget=BudgetSettings(variants=1))
    campaign.run()
    history = campaign.components.history
    history.constraints = (Constraint(name="parameters", at_most="seed x 2"),)
    builder = ContextBuilder(history, campaign.components.lineage, CampaignInfo(0, "", "proxy", ""))
    parents = (Parent(history.seed_id, "parent"),)
    with open_store() as store:
        context = builder.context(store, parents, builder.views(store, parents, None), None)
    limit = f"{1.02 * history.believed(history.seed_id, 'proxy')['val_bpb'].mean:,.6g}"
    assert context.constraints == (
        "parameters at most 4,000 (seed x 2)",
        f"val_bpb at most {limit} (seed x 1.02)",
    )


def test_a_model_sets_constants_only_where_others_were_measured_before(tmp_path):
    asked = []

    class FakeHybrid(FakeEdit):
        name, parent_rule = "hybrid", ParentRule.TUNED

        def propose(self, request: Request) -> Draft:
            own = request.history.settings(request.parent("parent").variant_id)
            asked.append([one.state for one in own if one.own])
            return Draft(
                with_knobs(request.parent("parent").source, {"LR": 0.5 + request.number / 100}),
                "LR",
                "model",
            )

    open_store = make_store(tmp_path / "c.db", SOURCE)
    make_campaign(
        open_store,
        operators=[Nudge(), FakeHybrid()],
        budget=BudgetSettings(variants=16),
        portfolio=PortfolioSettings(mode=Mode.FIXED),
    ).run()
    assert asked and all(states.count(RunState.SCORED) >= 2 for states in asked)


def test_a_parent_is_told_as_the_best_as_on_the_front_for_its_niche_or_as_behind(tmp_path):
    open_store = make_store(tmp_path / "c.db")
    evaluator, ids = FakeEvaluator(), []
    with open_store() as store:
        seed_id = Lineage.of(store).after(0)[0]
        for number, source in ((2, "LR = 0.1\nDEPTH = 9\n"), (3, "LR = 0.25\nDEPTH = 1\n")):
            child = Variant(variant_id(source), source, fingerprint(source))
            ids.append(child.id)
            store.add_proposal(
                Proposal(number, "nudge", (Parent(seed_id, "parent"),), Outcome.VARIANT, "", child)
            )
        lineage = Lineage.of(store)
        history = RunHistory(DEFAULT_OBJECTIVES, seed_id, family=lineage)
        for one in (seed_id, *ids):
            request = RunRequest(one, "proxy", 0, 0, Purpose.SCREEN)
            slot = Slot("slot0", "cpu", (0,))
            found = evaluator.evaluate(request, source_of(store, one), slot, Unwatched())
            history.add(MeasurementRow(store.add_measurement(found), found))
        front = history.front("proxy")
        assert front == ids
        builder = ContextBuilder(history, lineage, CampaignInfo(0, "", "proxy", ""))
        best, other, seed = (
            builder.views(store, (Parent(one, "parent"),), None)[0] for one in (*front, seed_id)
        )
        history.add(replace(history.rows("proxy")[0], id=99, measurement=_at_full(history)))
        views = builder.views(store, (Parent(seed_id, "parent"),), None)
    assert best.why == "It is the best so far in val_bpb."
    assert "finds nothing new" in seed.why and "niche" not in seed.why and not seed.larger
    (told,) = views[0].larger
    assert told.startswith("at full: val_bpb ")
    other = other.why
    assert "behind the best in val_bpb" in other
    assert "parameters 1,000 against 9,000 of the best" in other


def test_models_are_told_what_takes_longest_in_a_parent_or_in_the_nearest_before_it(tmp_path):
    open_store = make_store(tmp_path / "c.db")
    with open_store() as store:
        seed_id = Lineage.of(store).after(0)[0]
        ids = [seed_id]
        for number in (2, 3):
            source = f"LR = 0.{number}\nDEPTH = 2\n"
            child = Variant(variant_id(source), source, fingerprint(source))
            parents = (Parent(ids[-1], "parent"),)
            store.add_proposal(Proposal(number, "nudge", parents, Outcome.VARIANT, "", child))
            ids.append(child.id)
        request = RunRequest(seed_id, "proxy", 0, 0, Purpose.CALIBRATE)
        facts = {"operations": "aten::mm 41 %"}
        run = Measurement(request, Status.OK, metrics={"val_bpb": 2.0}, facts=facts)
        history = RunHistory(DEFAULT_OBJECTIVES, seed_id)
        history.add(MeasurementRow(store.add_measurement(run), run))
        lineage, told = Lineage.of(store), []
        for timed, child in ((True, ids[0]), (True, ids[2]), (False, ids[0])):
            builder = ContextBuilder(
                history, lineage, CampaignInfo(0, "", "proxy", "", timed=timed)
            )
            parents = (Parent(child, "parent"),)
            views = builder.views(store, parents, None)
            told.append(builder.context(store, parents, views, None).dearest)
    where = f"aten::mm 41 % (in {seed_id[:8]}, 2 edits before it)"
    assert told == ["aten::mm 41 %", where, ""], "none where prompts are to be the same again"


def _at_full(history):
    """The seed's first measurement, as if it were one of the larger rung."""
    first = history.rows("proxy")[0].measurement
    return replace(first, request=replace(first.request, rung="full"))


def test_what_a_loss_in_one_objective_has_to_buy_is_told_in_words():
    one = trade_in_words([Objective(name="val_bpb", epsilon=0.0005)])
    assert one == "Smallest steps that count: val_bpb 0.0005; less is no difference."
    two = trade_in_words([Objective(name="val_bpb"), Objective(name="weights_mb", epsilon=1)])
    assert "weights_mb 1; less is no difference." in two
    assert "a gain in val_bpb pays for any loss in weights_mb within the constraints" in two
    assert trade_in_words([Objective(name="val_bpb")]) == ""


def test_a_parent_farther_behind_than_an_edit_usually_gains_is_drawn_only_for_its_niche():
    far = Candidate("far", (3.0, 5.0))
    candidates = [
        Candidate("best", (1.0, 5.0), on_front=True),
        Candidate("near", (1.4, 5.0)),
        Candidate("unsure", (2.0, 5.0), sd=0.6),
        far,
        Candidate("small", (3.0, 1.0), on_front=True),
        Candidate("forbidden", (0.1, 5.0), violation=1.0),
    ]
    kept = [one.variant_id for one in within_reach(candidates, 0.5)]
    assert kept == ["best", "near", "unsure", "small", "forbidden"]
    assert far in within_reach(candidates, 2.0) and within_reach([], 0.5) == []


def test_how_far_behind_may_be_is_learnt_from_what_an_operators_own_edits_gained():
    family = Lineage()
    family.add("seed", ())
    history, number = RunHistory([DEFAULT_OBJECTIVES[0]], "seed", family=family), 0
    noise = random.Random(1)

    def run(variant: str, block: int, level: float, purpose: Purpose) -> None:
        nonlocal number
        number += 1
        request = RunRequest(variant, "proxy", block, 0, purpose)
        score = level + noise.gauss(0, 0.01)
        found = Measurement(request, Status.OK, metrics={"val_bpb": score})
        history.add(MeasurementRow(number, found))

    for block in range(4):
        run("seed", block, 2.0, Purpose.CALIBRATE)
    start = history.usual_gain("proxy", "bold")
    for at in range(24):
        bold = at % 2
        name = f"v{at}"
        family.add(name, (Parent("seed", "parent"),), "bold" if bold else "timid")
        level = 2.0 - (0.3 if bold else 0.01) if at % 4 < 2 else 2.1
        run(name, 0, level, Purpose.SCREEN)
    timid, bold = (history.usual_gain("proxy", one) for one in ("timid", "bold"))
    assert start is not None and start < 0.05 and timid < bold and bold > 0.1
    assert RunHistory(DEFAULT_OBJECTIVES, "seed").usual_gain("proxy", "bold") is None
