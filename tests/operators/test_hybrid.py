"""The operator in which a model sets constants: what it is shown, and what of its reply is believed."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from operators.hybrid import columns_of, constants_in_words, hybrid_messages, read_values
from operators.llm.answer import prompt_text
from operators.operator import Draft, ProposalFailed, Request
from operators.optimisers.optimiser import Space
from operators.registry import build_operators
from operators.source.constants import constants
from operators.source.edits import EditError
from operators.source.knobs import with_knobs
from operators.tune import Tune
from population.fingerprint import fingerprint
from tests.operators.fake_openai import FakeOpenAI
from tests.operators.histories import FakeHistory, setting
from tests.operators.samples import SMALL, request
from tests.operators.test_briefing import CONTEXT
from tests.operators.test_contract import llm_context

GOLDEN = Path(__file__).parent / "golden" / "hybrid.txt"
GOOD = "IDEA 3: faster\n- `MATRIX_LR` = 0.03  # more\n```\nACTIVATION = gelu\n```\n"
NEW = SMALL.replace("TIED = True", "MOMENTUM = 0.9\nTIED = True")  # a constant without a remark


def asked(source: str = SMALL, history: FakeHistory | None = None) -> Request:
    history = history or FakeHistory([setting(source, 1.0)], seed=SMALL)
    return replace(request(source), history=history)


def runs() -> FakeHistory:
    """Five settings of the structure, one that failed, one that waits."""
    scored = [
        setting(with_knobs(SMALL, {"MATRIX_LR": rate, "ACTIVATION": word}), value)
        for rate, word, value in (
            (0.02, "relu2", 1.0),
            (0.01, "relu2", 0.9),
            (0.04, "gelu", 0.95),
            (0.09, "silu", 1.4),
            (0.001, "relu2", 1.5),
        )
    ]
    failed = setting(with_knobs(SMALL, {"LAYERS": 8}), None, failed=True)
    return FakeHistory(
        [*scored, failed, setting(with_knobs(SMALL, {"BATCH": 64}), None)], seed=SMALL
    )


def proposed(replies: list[str], of: Request) -> tuple[Draft, list[str]]:
    """The draft, and all prompts that were sent for it."""
    with FakeOpenAI(replies) as server:
        (operator,) = build_operators({"hybrid": 1}, llm_context(server, []))
        draft = operator.propose(of)
    return draft, [one.prompt for one in server.requests]


def test_the_prompt_is_as_written_down() -> None:
    text = prompt_text(hybrid_messages(replace(asked(history=runs()), context=CONTEXT)))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_a_good_reply_changes_the_named_constants_and_nothing_else() -> None:
    draft, prompts = proposed([GOOD], asked())
    assert draft.source == with_knobs(SMALL, {"MATRIX_LR": 0.03, "ACTIVATION": "gelu"})
    assert draft.idea == "faster" and draft.model == "tiny" and len(prompts) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("IDEA: x\nDEPTH = 3", "there is no knob DEPTH; the knobs are: MATRIX_LR, EMBED_LR"),
        ("IDEA: x\nMATRIX_LR = 7", "MATRIX_LR = 7 is not in log 0.001 0.1"),
        ("IDEA: x\nMATRIX_LR = high", "MATRIX_LR = 'high' is not in log"),
        ("IDEA: x\nLAYERS = 4.5", "LAYERS = 4.5 is not in int 1 8"),
        ("IDEA: x\nMATRIX_LR = 1e999", "MATRIX_LR = inf is not in log"),
        ("IDEA: x\nTIED = 1", "TIED = 1 is not in choice"),
        ("IDEA: x\nMATRIX_LR = 0.02", "every value is the parent's"),
        ("IDEA: x\nWARMUP = 0.1\nWARMUP = 0.2", "WARMUP has two values, 0.1 and 0.2"),
        ("IDEA: x\nMATRIX_LR = 0.01", "this structure was set so before"),
        ("IDEA: x\nMATRIX_LR = 0.010001", "this structure was set so before"),
        ("IDEA: MATRIX_LR = 0.03", "no line NAME = value"),
    ],
)
def test_a_bad_reply_is_asked_again_once_with_the_reason(bad: str, reason: str) -> None:
    draft, prompts = proposed([bad, GOOD], asked(history=runs()))
    assert len(prompts) == 2 and reason in prompts[1]
    assert "one line `NAME = value`" in prompts[1] and "SEARCH" not in prompts[1]
    assert "MATRIX_LR = 0.03" in draft.source
    with pytest.raises(ProposalFailed, match="no usable edit in 2 answers"):
        proposed([bad], asked(history=runs()))


def test_a_constant_at_the_end_of_its_range_may_go_beyond_and_takes_the_range_along() -> None:
    edge = SMALL.replace("MATRIX_LR = 0.02", "MATRIX_LR = 0.1").replace("LAYERS = 4", "LAYERS = 8")
    history = FakeHistory([setting(edge, 1.0)], seed=SMALL)
    draft, prompts = proposed(
        ["IDEA: x\nMATRIX_LR = 0.25\nLAYERS = 10\nWARMUP = 0.2"], asked(edge, history)
    )
    assert len(prompts) == 1 and prompts[0].count(", at the end of its range") == 2
    wider = edge.replace(
        "MATRIX_LR = 0.1  # knob: log 1e-3 1e-1", "MATRIX_LR = 0.25  # knob: log 0.001 0.25"
    )
    wider = wider.replace("LAYERS = 8  # knob: int 1 8", "LAYERS = 10  # knob: int 1 10")
    assert draft.source == wider.replace("WARMUP = 0.1", "WARMUP = 0.2")
    for far in ("MATRIX_LR = 1.5", "LAYERS = 16", "MATRIX_LR = 0.0001", "WARMUP = 0.6"):
        _, prompts = proposed([f"IDEA: x\n{far}", GOOD], asked(edge, history))
        assert "is not in" in prompts[1]


def test_a_child_that_someone_made_before_is_asked_again() -> None:
    history = FakeHistory([setting(SMALL, 1.0)], seed=SMALL)
    history.made.add(fingerprint(with_knobs(SMALL, {"WARMUP": 0.2})))
    _, prompts = proposed(["IDEA: x\nWARMUP = 0.2", GOOD], asked(history=history))
    assert "was set so before" in prompts[1]


def test_a_number_that_a_model_introduced_without_a_remark_can_be_set_in_a_guessed_range() -> None:
    draft, prompts = proposed(["IDEA: x\nMOMENTUM = 0.95"], asked(NEW))
    assert draft.source == NEW.replace("MOMENTUM = 0.9", "MOMENTUM = 0.95")
    assert "- MOMENTUM = 0.9, in float 0.6 0.975, a range guessed" in prompts[0]


def test_the_state_shows_where_the_best_runs_lie_and_which_constants_matter() -> None:
    lines = constants_in_words(Space.of(asked(history=runs())))
    rate, activation = lines[0], lines[5]
    assert rate.startswith("- MATRIX_LR = 0.02, in log 0.001 0.1; the best 0.02 (0.01 to 0.04); ")
    assert "in the best relu2 2 times, gelu 1 times" in activation
    few = constants_in_words(Space.of(asked()))
    assert few[0] == "- MATRIX_LR = 0.02, in log 0.001 0.1"


def test_the_prompt_promises_only_what_its_lines_have() -> None:
    def told(history: FakeHistory) -> str:
        return hybrid_messages(asked(history=history))[1].content

    nothing, numbers, everything = (
        told(FakeHistory([setting(SMALL, 1.0)], seed=SMALL)),
        columns_of(["- A = 1, in int 1 2; the best 1 (1 to 1); 50% of the effects"]),
        told(runs()),
    )
    for word in ("standard deviation", "share of all effects", "each choice"):
        assert word not in nothing and word in everything, word
    assert "each choice" not in numbers and "share of all effects" in numbers
    assert "± its standard error" in everything
    unsure = [replace(one, sd=math.nan) for one in runs().all_settings]
    assert "± its standard error" not in told(FakeHistory(unsure, seed=SMALL))


def test_the_optimiser_is_told_what_a_model_set() -> None:
    draft, _ = proposed([GOOD], asked())
    history = FakeHistory([setting(SMALL, 1.0), setting(draft.source, 0.8)], seed=SMALL)
    told = Space.of(asked(history=history)).told()
    assert constants(draft.source) in [one.values for one in told]
    assert "2 runs told" in Tune().propose(asked(history=history)).idea


def test_a_value_is_read_as_a_literal_or_as_a_word() -> None:
    found = read_values("A = 1\n* B = 'x'  # why\nC=True;\nd = 4\n**E** = 5\nF == 6\nG = 1e-3,\n")
    assert found == {"A": 1, "B": "x", "C": True, "G": 0.001}
    with pytest.raises(EditError, match="no line"):
        read_values("I would set nothing = at all")
