"""Ideas of banks are chosen by what is known of them, merged where they fit, and refused with a reason."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from operators.operator import (
    Draft,
    ParentView,
    ProposalContext,
    ProposalFailed,
    Request,
    RunState,
    Transplanted,
)
from operators.transplant import Transplant, drawn_effects
from population.fingerprint import fingerprint
from population.reading.idea_bank import BankIdea, IdeaEffect
from population.types import Estimate
from tests.operators.histories import FakeHistory

BASE = """LR = 0.02  # knob: log 1e-3 1e-1


class Model:
    def __init__(self):
        self.width = 8

    def forward(self, x):
        x = x + 1
        return x


model = Model()
"""


def edit(old: str, new: str, source: str = BASE) -> str:
    assert source.count(old) == 1
    return source.replace(old, new)


def idea(
    after: str, gain: float | None, n: int = 3, before: str = BASE, words: str = ""
) -> BankIdea:
    effects = () if gain is None else (IdeaEffect("val_bpb", "proxy", -gain, n, sd=0.01),)
    return BankIdea(words or f"an idea worth {gain}", before, after, effects=effects, bank="old")


DEEPER = idea(
    edit("        self.width = 8\n", "        self.width = 8\n        self.deep = 2\n"), 0.2
)
WIDER = idea(edit("self.width = 8", "self.width = 16"), 0.1)
DOUBLED = idea(edit("        x = x + 1\n", "        x = 2 * x\n"), 0.02)


def asked(
    source: str = BASE,
    seed: int = 0,
    tried: tuple[Transplanted, ...] = (),
    estimates: dict[str, Estimate] | None = None,
) -> Request:
    view = ParentView("p", "parent", source, estimates or {})
    context = ProposalContext(objectives=("val_bpb",))
    history = FakeHistory(tried=tried)
    return Request(1, (view,), np.random.default_rng(seed), context, history=history)


def here(one: BankIdea, effect: float = math.nan, **more: object) -> Transplanted:
    state = RunState.SCORED if math.isfinite(effect) else RunState.WAITING
    known = Transplanted(one.id, state, effect, 0.01, inherited=False)
    return replace(known, **more)


def chosen(operator: Transplant, request: object, seeds: int = 60) -> Counter[str]:
    """Which ideas are drafted with so many generators."""
    found: Counter[str] = Counter()
    for seed in range(seeds):
        try:
            found[operator.propose(asked(seed=seed, **request)).idea] += 1  # type: ignore[arg-type]
        except ProposalFailed:
            found["none"] += 1
    return found


def reason(operator: Transplant, request: Request) -> str:
    with pytest.raises(ProposalFailed) as caught:
        operator.propose(request)
    return caught.value.reason


def test_the_edit_is_merged_into_a_parent_that_has_changed_elsewhere() -> None:
    parent = edit("LR = 0.02", "LR = 0.05")
    draft = Transplant([DEEPER]).propose(asked(parent))
    assert draft.source == edit("LR = 0.02", "LR = 0.05", DEEPER.after)
    assert draft.idea == DEEPER.idea


def test_lines_that_both_put_into_one_place_are_both_kept() -> None:
    parent = edit("        self.width = 8\n", "        self.width = 8\n        self.heads = 4\n")
    draft = Transplant([DEEPER]).propose(asked(parent))
    assert "self.heads = 4\n        self.deep = 2\n" in draft.source


def test_its_draft_carries_the_line_of_the_bank() -> None:
    origin = json.loads(Transplant([DEEPER]).propose(asked()).origin)
    assert (origin["id"], origin["bank"]) == (DEEPER.id, "old")
    assert origin["effects"][0]["mean"] == -0.2 and origin["after"] == DEEPER.after


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (edit("self.width = 8", "self.width = 99"), "conflicts with the parent in Model"),
        (WIDER.after, "is in the parent already"),
        ("def (:\n", "cannot be merged"),
    ],
)
def test_what_does_not_fit_is_no_child_and_says_why(source: str, told: str) -> None:
    said = reason(Transplant([WIDER]), asked(source))
    assert told in said and "an idea worth 0.1" in said


def test_an_idea_that_needs_what_the_parent_lacks_is_refused_and_names_it() -> None:
    longer = BASE + "\n\ndef step(x):\n    return x\n"
    uses = edit("        x = x + 1\n", "        x = step(x) + 1\n", longer)
    assert "needs what the parent lacks: step" in reason(
        Transplant([idea(uses, 0.1, before=longer)]), asked()
    )


def test_a_variant_that_was_made_before_is_not_made_again() -> None:
    request = asked()
    made = Transplant([WIDER]).propose(request).source
    history = FakeHistory()
    history.made.add(fingerprint(made))
    assert "was made before" in reason(
        Transplant([WIDER]), replace(request, history=history, rng=np.random.default_rng(0))
    )


def test_the_next_idea_is_tried_where_the_best_conflicts() -> None:
    parent = edit("        self.width = 8\n", "        self.width = 9\n")
    assert Transplant([WIDER, DOUBLED]).propose(asked(parent)).idea == DOUBLED.idea


def test_an_idea_that_would_break_a_constraint_is_refused_before_it_costs_a_run() -> None:
    large = replace(
        WIDER, effects=(*WIDER.effects, IdeaEffect("parameters", "proxy", 90.0, 3, sd=0.0))
    )
    small = {"parameters": Estimate(20.0, 0.0, 3)}
    assert "parameters at most 100" in reason(Transplant([large]), asked(estimates=small))
    fits = {"parameters": Estimate(5.0, 0.0, 3)}
    assert isinstance(Transplant([large]).propose(asked(estimates=fits)), Draft)


def test_what_is_in_the_parent_or_waits_is_not_proposed() -> None:
    operator = Transplant([WIDER])
    for busy in (here(WIDER), here(WIDER, -0.1, inherited=True)):
        assert "in the banks" in reason(operator, asked(tried=(busy,)))
    assert reason(Transplant([]), asked()) == "no bank holds an idea"


def test_the_better_of_two_records_is_tried_more_often_and_the_other_gets_its_chance() -> None:
    found = chosen(Transplant([DEEPER, DOUBLED]), {})
    assert found[DEEPER.idea] > 40 and found[DOUBLED.idea] > 0


def test_an_idea_that_lost_here_sinks() -> None:
    lost = {"tried": (here(DEEPER, 0.05), here(DEEPER, 0.04))}
    found = chosen(Transplant([DEEPER, DOUBLED]), lost)
    assert found[DEEPER.idea] == 0 and found[DOUBLED.idea] > 20


def test_an_idea_that_failed_here_sinks() -> None:
    failed = {"tried": (here(DEEPER, state=RunState.FAILED),) * 2}
    assert chosen(Transplant([DEEPER, DOUBLED]), failed)[DEEPER.idea] <= 3


def test_an_idea_that_won_here_is_sure_of_its_place() -> None:
    won = {"tried": (here(DOUBLED, -0.3), here(DOUBLED, -0.3))}
    assert chosen(Transplant([DEEPER, DOUBLED]), won)[DOUBLED.idea] > 55


def test_where_ideas_do_nothing_here_the_others_are_believed_less() -> None:
    nothing = [here(DEEPER, 0.0), here(WIDER, 0.0)]

    def mean(tried: list[Transplanted]) -> float:
        draws = [
            drawn_effects([DEEPER, WIDER, DOUBLED, large], "val_bpb", tried, rng)[large.id]
            for rng in map(np.random.default_rng, range(200))
        ]
        return float(np.mean(draws))

    large = idea(edit("model = Model()", "model = Model()  # large"), 0.2)
    assert -0.06 < mean(nothing) < 0 and mean([]) < -0.08


def test_what_a_bank_says_is_shrunk_and_what_is_said_of_one_run_more() -> None:
    def mean(one: BankIdea) -> float:
        draws = [
            drawn_effects([one, DOUBLED], "val_bpb", (), rng)[one.id]
            for rng in map(np.random.default_rng, range(300))
        ]
        return float(np.mean(draws))

    once = replace(DEEPER, effects=(IdeaEffect("val_bpb", "proxy", -0.2, 1),))
    assert -0.2 < mean(DEEPER) < mean(once) < 0


def test_a_chain_is_climbed_from_its_beginning() -> None:
    first = idea(edit("        x = x + 1\n", "        x = x + 2\n"), 0.01, words="first")
    longer = edit("        x = x + 2\n", "        x = x + 2 * x\n", first.after)
    second = idea(longer, 0.4, before=first.after, words="second")
    side = idea(edit("self.width = 8", "self.width = 16"), 0.06, words="side")
    alone = chosen(Transplant([first, side]), {})
    led = chosen(Transplant([first, second, side]), {})
    assert led["second"] == 0, "it conflicts until the first is in"
    assert led["first"] > alone["first"] + 10
    then = [
        Transplant([first, second, side]).propose(
            asked(first.after, seed, (here(first, -0.01, inherited=True),))
        )
        for seed in range(20)
    ]
    assert Counter(one.idea for one in then)["second"] > 12


def test_edits_that_lead_in_a_circle_end() -> None:
    there, back = idea(WIDER.after, 0.1), idea(BASE, 0.1, before=WIDER.after, words="back")
    assert Transplant([there, back]).propose(asked()).source == WIDER.after


def test_the_order_of_the_banks_changes_nothing() -> None:
    for seed in range(10):
        drafts = [
            Transplant(ideas).propose(asked(seed=seed)).idea
            for ideas in ([DEEPER, WIDER, DOUBLED], [DOUBLED, WIDER, DEEPER])
        ]
        assert drafts[0] == drafts[1]
