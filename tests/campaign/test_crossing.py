"""Crossovers of two or three parents: who they are, and what is told of the edits that made them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from evo.proposals.ideas import Lines
from evo.runtime.budget import BudgetSettings
from operators.operator import Draft, ParentRule, Request
from operators.portfolio import Mode, PortfolioSettings
from population.archive import DEFAULT_OBJECTIVES
from population.lineage import Lineage
from population.reading import measurements, proposals
from population.run_history import RunHistory
from population.store import Store
from population.types import Outcome, Status
from tests.campaign.fakes import make_campaign, make_store


class FakeEdit:
    """Adds a line of its own."""

    name, parent_rule = "edit", ParentRule.ONE

    def propose(self, request: Request) -> Draft:
        rate = float(request.rng.uniform(0.05, 0.3))
        old = request.parent("parent").source
        kept = [line for line in old.splitlines() if not line.startswith("LR =")]
        lines = [f"LR = {rate:.6f}", *kept, f"x{request.number} = 1"]
        return Draft("\n".join(lines) + "\n", f"edit {request.number}")


class FakeCrossover:
    """Takes the lines of all its parents; remembers what it was given."""

    name, parent_rule = "cross", ParentRule.SEVERAL

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def propose(self, request: Request) -> Draft:
        self.asked.append(request)
        lines = dict.fromkeys(line for view in request.parents for line in view.source.splitlines())
        return Draft("\n".join([*lines, f"y{request.number} = 1"]) + "\n", "all of them")


def run(tmp_path: Path, third: float) -> tuple[Callable[[], Store], list[Request]]:
    open_store, cross = make_store(tmp_path / "c.db"), FakeCrossover()
    make_campaign(
        open_store,
        operators=[FakeEdit(), cross],
        budget=BudgetSettings(variants=60),
        portfolio=PortfolioSettings(mode=Mode.FIXED),
        third_parent_share=third,
    ).run()
    return open_store, cross.asked


def test_a_third_parent_parts_from_both_where_they_part(tmp_path: Path) -> None:
    open_store, asked = run(tmp_path, 1.0)
    with open_store() as store:
        lineage = Lineage.of(store)

        def is_or_descends(child: str, above: str) -> bool:
            return child == above or lineage.descends(child, above)

        made = [one for one in proposals(store) if one.operator == "cross"]
    roles = [tuple(parent.role for parent in one.parents) for one in made]
    two, three = ("first", "second", "ancestor"), ("first", "second", "third", "ancestor")
    assert set(roles) <= {two, three} and three in roles
    for one in made:
        *parents, ancestor = (parent.variant_id for parent in one.parents)
        for a, b in itertools.combinations(parents, 2):
            both = {x for x in lineage.after(0) if is_or_descends(a, x) and is_or_descends(b, x)}
            assert ancestor in both
            assert not [x for x in both if lineage.descends(x, ancestor)]
            assert not lineage.descends(a, b) and not lineage.descends(b, a)
    born = [one for one in made if one.outcome is Outcome.VARIANT and len(one.parents) == 4]
    birth = lineage.birth_of(str(born[0].variant_id))
    assert birth is not None and len(birth.parents) == 3 and birth.ancestor is not None
    for request in asked:
        for view in request.parents:
            way = lineage.way(request.parent("ancestor").variant_id, view.variant_id)
            assert len(view.edits) == len(way) - 1


def test_without_a_wish_for_one_there_is_no_third(tmp_path: Path) -> None:
    _, asked = run(tmp_path, 0.0)
    assert {len(one.parents) for one in asked} == {3}


def test_an_edit_is_told_with_what_is_believed_of_the_difference_that_it_made(
    tmp_path: Path,
) -> None:
    open_store, asked = run(tmp_path, 1.0)
    with open_store() as store:
        rows, lineage = measurements(store, statuses=list(Status)), Lineage.of(store)
        history = RunHistory(DEFAULT_OBJECTIVES, asked[0].parent("ancestor").variant_id)
        for row in rows:
            history.add(row)
        seed_id = lineage.after(0)[0]
        child = lineage.children_of(seed_id)[0]
        (edit,) = Lines(history, lineage, "proxy").edits(store, seed_id, child, None)
        (early,) = Lines(history, lineage, "proxy").edits(store, seed_id, child, 0)
        assert Lines(history, lineage, "proxy").edits(store, child, child, None) == ()
    assert (early.status, early.effect, early.n) == ("not measured", None, 0)
    assert edit.status == "ok" and edit.idea.startswith("edit ")
    mine, theirs = (history.believed(one, "proxy")["val_bpb"] for one in (child, seed_id))
    assert edit.value == mine.mean and edit.effect == pytest.approx(mine.mean - theirs.mean)
    assert edit.n == min(mine.n, theirs.n)
    assert edit.effect_se == pytest.approx(math.hypot(mine.sd, theirs.sd))
