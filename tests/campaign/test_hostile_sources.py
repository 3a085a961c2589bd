"""A campaign goes on at its pace while many of the children are hostile to whoever reads them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from evo.analysis.health import slot_busy_share
from evo.evaluation.static_check import check_source
from evo.runtime.budget import BudgetSettings
from operators.merge import Merge
from operators.nudge import Nudge
from operators.operator import Draft, ParentRule, Request
from operators.revert import Revert
from population.reading import measurements, proposals
from population.types import Outcome, Status

from .fakes import FakeEvaluator, make_campaign, make_store

TRAINS = """

def train():
    import harness

    run = harness.start()
    run.progress()
    run.finish(None)
"""
HEAD = "LR = {rate:.9f}  # knob: log 1e-3 1\nDEPTH = 2  # knob: int 1 4\n"
SEED = HEAD.format(rate=0.5) + TRAINS
REJECTED = {
    "more than 20,000 lines": "def f():\n" + "\n" * 80_000 + "    pass\n",
    "lines together": "if 1: x\n" * 9_000,
    "nested more": "def f():\n    return x" + ".a" * 450 + "\n",
    "nested too deeply": "X = " + "1**" * 5_000 + "1\n",
    "larger than": "# x\n" * 26_000,
    "null bytes": "X = '\0'\n",
    "blanks": "".join(f"X = {' ' * 90}1;\n" for _ in range(600)),
    "an f-string of more": "def f():\n    return f'" + "{x}" * 20_000 + "'\n",
}
LET_IN = (
    "def f():\n" + "\n" * 7_500 + "    pass\n",
    "".join(f"if LR > {at}: x = {at}\n" for at in range(2_000)),
    "".join(f"if LR > {at}: y = {at}\n" for at in range(2_000, 0, -1)),
    "def f():\n    return x" + ".a" * 90 + "\n",
    "".join(f"A{at} = 0.5  # knob: float 0 1\n" for at in range(1_000)),
    "def f():\n    return f'" + "{x}" * 8_000 + "'\n",
    "0;" * 9_000 + "\n",
    "# " + "=" * 30 + "\n# schedule\n" * 1_000,
)


@dataclass
class FakeAuthor:
    """Most children are hostile: a third beyond what is let in, the others just within; all score alike."""

    name: str = "author"
    parent_rule: ParentRule = ParentRule.ONE
    counter: itertools.count = field(default_factory=itertools.count)

    def propose(self, request: Request) -> Draft:
        head = HEAD.format(rate=float(request.rng.uniform(0.01, 0.9)))
        place, turn = divmod(next(self.counter), 5)
        if turn < 2 and place % 8 == 0:
            return Draft(head + TRAINS, "honest")
        kinds = [*REJECTED.values()] if turn in (1, 2) else LET_IN
        return Draft(head + kinds[(2 * place + turn) % len(kinds)] + TRAINS, "hostile")


def run(path: Path, variants: int, seconds: float) -> None:
    """A campaign of so many children, with merges, reverts and nudges beside the author."""
    open_store = make_store(path / "campaign.db", SEED)
    make_campaign(
        open_store,
        evaluator=FakeEvaluator(seconds=seconds),
        operators=[FakeAuthor(), Merge(), Revert(), Nudge()],
        budget=BudgetSettings(variants=variants),
        check_source=partial(check_source, seed=SEED),
    ).run()
    with open_store() as store:
        made = [*proposals(store)]
        rows = measurements(store, statuses=list(Status))
    broken = [one.reason for one in made if "Error" in one.reason]
    assert not broken, broken[0]
    children = [one for one in made if one.outcome is Outcome.VARIANT]
    assert len(children) == variants + 1
    assert {one.variant_id for one in children} == {
        row.measurement.request.variant_id for row in rows
    }
    hostile = [one for one in made if one.idea == "hostile"]
    assert {one.outcome for one in hostile} == {Outcome.INVALID, Outcome.VARIANT}
    reasons = [one.reason for one in hostile if one.outcome is Outcome.INVALID]
    assert all(any(said in reason for said in REJECTED) for reason in reasons), reasons
    if seconds:
        assert {"merge", "revert", "nudge"} <= {one.operator for one in children}
        assert len(hostile) >= variants // 5
        busy = slot_busy_share([row.measurement for row in rows], 2)
        print(f"{len(hostile)} hostile of {len(made)}, busy {busy:.3f}")
        assert busy >= 0.95


def test_a_campaign_takes_hostile_sources_as_data(tmp_path: Path) -> None:
    run(tmp_path, 40, 0.0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_slots_stay_busy_among_two_hundred_children_with_hostile_ones(tmp_path: Path) -> None:
    run(tmp_path, 200, 3.0)  # a run of the quickstart takes four times as long
