"""What was asked of models, as it stands in a store and as people see it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evo.analysis.ranking import CUT_OFF, NOTES, answers, kind_of_reason, prompts
from evo.terminal.tables import by_whom
from population.fingerprint import fingerprint
from population.reading import calls
from population.types import (
    LlmCall,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    Variant,
    variant_id,
)
from tests.analysis.built import SEED, Built, finished

from .driving import Evo

OK = LlmCall(
    "mine", "m-1", "the prompt", "the reply", 900, 100, 0.002, 3.0, "ok", 2,
    {"brief": 200, "sources": 500, "tried": 100},
)  # fmt: skip


@pytest.fixture
def built(tmp_path: Path) -> Built:
    """A child by a model at its second answer, one by no model, and all kinds of calls beside."""
    built = Built(tmp_path / "campaigns" / "asked-1")
    built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE)
    for number, operator, model, source in (
        (2, "llm_mutate", "m-1", SEED + "x = 1\n"),
        (3, "nudge", "", SEED.replace("0.1", "0.2")),
    ):
        made = Variant(variant_id(source), source, fingerprint(source))
        parents = (Parent(built.seed, "parent"),)
        built.store.add_proposal(
            Proposal(number, operator, parents, Outcome.VARIANT, variant=made, model=model)
        )
        built.run(made.id, 2.4)
    again = replace(OK, parts={**OK.parts, "again": 40}, dollars=None, seconds=5.0)
    for call in (
        replace(OK, outcome="HTTP 500", tokens_in=0, tokens_out=0),
        again,
        replace(OK, proposal_number=0, tokens_in=90, parts={"brief": 50, "children": 30}),
        replace(OK, proposal_number=3, tokens_in=80, outcome="cut off: the campaign was killed"),
        replace(OK, proposal_number=9, outcome="asked"),
    ):
        built.store.add_llm_call(call)
    return built


def test_each_operator_is_told_with_what_went_to_which_part(built: Built) -> None:
    mutate, notes, cut = prompts(calls(built.store))
    assert mutate.operator == "llm_mutate" and (mutate.calls, mutate.seconds) == (2, 8.0)
    assert (mutate.tokens_in, mutate.tokens_out) == (900, 100)
    assert mutate.parts == {"sources": 1000, "brief": 400, "tried": 200, "again": 40}
    assert next(iter(mutate.parts)) == "sources", "the largest first"
    assert (mutate.dollars, mutate.price_unknown) == (0.002, 1)
    assert (notes.operator, notes.parts) == (NOTES, {"brief": 50, "children": 30})
    assert cut.operator == CUT_OFF, "a number that a kill left is not the next operator's call"


def test_status_tells_prompts_by_operator_and_part(built: Built, evo: Evo) -> None:
    out = " ".join(evo("status", "--all").out.split())
    told = "llm_mutate: 2 calls, 900 tokens in, 100 out; sources 61 %, brief 24 %, tried 12 %"
    assert told in out and "research notes: 1 call, 90 tokens in" in out
    (first, *_) = evo("status", "--json").json()["prompts"]
    assert first["parts"] == {"sources": 1000, "brief": 400, "tried": 200, "again": 40}


def test_show_tells_each_call_of_a_child_that_a_model_made(built: Built, evo: Evo) -> None:
    child = variant_id(SEED + "x = 1\n")
    out = " ".join(evo("show", child[:8]).out.split())
    assert "call mine m-1: 0 tokens in, 0 out, 0.002 dollars, 3.0 s; sources" in out
    assert "; HTTP 500" in out
    assert "call mine m-1: 900 tokens in, 100 out, price unknown, 5.0 s" in out
    told = evo("show", child[:8], "--json").json()["calls"]
    assert [one["outcome"] for one in told] == ["HTTP 500", "ok"]
    assert told[1]["parts"]["again"] == 40 and "prompt" not in told[1]


def test_where_no_model_was_asked_nothing_is_told_of_prompts(tmp_path: Path, evo: Evo) -> None:
    finished(tmp_path / "campaigns" / "built-1")
    assert (
        "call" not in evo("show", "best").out
        and evo("show", "best", "--json").json()["calls"] == []
    )
    assert (
        "prompts" not in evo("status", "--all").out
        and evo("status", "--json").json()["prompts"] == []
    )


def test_the_report_tells_what_models_were_asked(built: Built, evo: Evo, tmp_path: Path) -> None:
    assert evo("report", "-o", "report.html").code == 0
    page = (tmp_path / "report.html").read_text()
    assert "asked by" in page and "sources 61 %, brief 24 %, tried 12 %, again 2 %" in page


def test_a_model_called_like_its_endpoint_is_named_once() -> None:
    assert by_whom("bridge", "bridge") == "bridge"
    assert by_whom("mine", "m-1") == "mine m-1" and by_whom("evotrain", "") == "evotrain"


WHY = "edit 2 of 3: its SEARCH text is not in the file (it begins with 'x = 1')"


def test_status_says_of_each_model_how_many_answers_were_asked_for_twice_and_why(
    built: Built, evo: Evo
) -> None:
    for number in range(20, 26):
        built.store.add_llm_call(replace(OK, proposal_number=number))
    again = replace(OK, proposal_number=21, again_because=WHY, estimated=True)
    built.store.add_llm_call(again)
    built.store.add_llm_call(replace(again, again_because=WHY.replace("2 of 3", "1 of 1")))
    built.store.add_llm_call(replace(OK, parts={"probe": 20}))
    (mine,) = answers(calls(built.store))
    assert (mine.questions, mine.asked_again, mine.failed) == (7, 3, 2)
    assert mine.again_share == pytest.approx(3 / 7) and mine.estimated_tokens == 2000
    kind = "its SEARCH text is not in the file"
    assert mine.reasons == {kind: 2, "not recorded": 1}, "older stores do not say why"
    out = " ".join(evo("status").out.split())
    assert f"answers mine m-1: 7 answers, 3 asked again (43 %): {kind} 2, not recorded 1" in out
    assert "2 requests without an answer; 2,000 tokens estimated" in out
    (told,) = evo("status", "--json").json()["answers"]
    assert told["asked_again"] == 3 and told["reasons"] == mine.reasons


def test_reasons_are_told_apart_by_what_is_not_of_one_answer_alone() -> None:
    told = {
        "the result does not parse: invalid syntax (<unknown>, line 3)": "the result does not parse",
        "edit 1 of 2: its SEARCH text is found 3 times: add lines": "its SEARCH text is found n times",
        "the reply has 1,234,567 characters, more than 400000": "the reply has n characters, more than n",
        "the fenced block does not parse: invalid syntax": "the fenced block does not parse",
        "the result is the same text as the parent": "the result is the same text as the parent",
        "": "not recorded",
    }  # fmt: skip
    assert {reason: kind_of_reason(reason) for reason in told} == told
