"""Edits by lines: whatever a schema made of a source admits is an edit that can be made.

The server that decodes by the schema is here drawn at random within it.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.llm.json_answer import plain_answer
from operators.source.blocks import EditError
from operators.source.edits import apply_reply
from operators.source.expressions import MAX_EDITS, place_in, schema_of
from operators.source.knobs import sound_knobs
from tests.operators.samples import SMALL

SEED = Path(__file__).parents[2] / "seed"
SOURCES = [SMALL, (SEED / "textbook.py").read_text(), (SEED / "train.py").read_text()]


def kinds_of(source: str) -> list[dict[str, Any]]:
    schema: Any = schema_of(source)
    return [one["properties"] for one in schema["properties"]["edits"]["items"]["anyOf"]]


def text_of(kind: dict[str, Any]) -> st.SearchStrategy[str]:
    """Any text that a schema of a string admits."""
    if "pattern" in kind:
        return st.from_regex(kind["pattern"], fullmatch=True, alphabet=st.characters(codec="ascii"))
    return st.sampled_from(kind.get("enum") or [kind["const"]])


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, list[dict[str, str]]]:
    """A source, and the edits of an answer about it."""
    source = draw(st.just(SMALL))
    chosen = draw(st.lists(st.sampled_from(kinds_of(source)), min_size=1, max_size=MAX_EDITS))
    edits = [{key: draw(text_of(one[key])) for key in ("line", "value")} for one in chosen]
    return source, list({one["line"]: one for one in edits}.values())


@settings(max_examples=15, deadline=None)
@given(answers())
def test_all_that_a_schema_of_a_source_admits_can_be_applied(
    answer: tuple[str, list[dict[str, str]]],
) -> None:
    source, edits = answer
    reply = json.dumps({"idea": "x", "idea_numbers": [], "edits": edits})
    wanted = source.split("\n")
    for edit in edits:
        place = place_in(edit["line"])
        assert place is not None
        wanted[wanted.index(edit["line"])] = place.filled(edit["value"])
    if wanted == source.split("\n"):
        with pytest.raises(EditError, match="changes nothing"):
            apply_reply(source, plain_answer(reply))
        return
    child = apply_reply(source, plain_answer(reply))
    assert child == "\n".join(wanted) and ast.parse(child)


@pytest.mark.parametrize("source", SOURCES)
def test_a_constant_is_offered_other_values_of_its_range_alone(source: str) -> None:
    offered = {one["line"]["const"]: one["value"]["enum"] for one in kinds_of(source)[:-1]}
    lines = source.split("\n")
    for knob in sound_knobs(source):
        values = [ast.literal_eval(one) for one in offered[lines[knob.line - 1]]]
        assert values and all(knob.holds(one) and one != knob.value for one in values)


def test_no_line_is_offered_that_stands_twice_or_asks_the_harness() -> None:
    source = SMALL + "\n\ndef other(x):\n    return x + 1\n\n\nscale = [\n    1]\n"
    told = json.dumps(schema_of(source))
    assert "return x + 1" not in told and "harness" not in told and "while" not in told
    assert "scale = " not in told  # its expression goes on in another line
    assert schema_of("x = (") is None and schema_of("'''only words'''\n") is None


@pytest.mark.parametrize(
    ("line", "value", "result"),
    [
        ("WARMUP = 0.1  # knob: float 0.0 0.5", "0.2", "WARMUP = 0.2  # knob: float 0.0 0.5"),
        ("    return x + 1", "x - 1", "    return x - 1"),
        ("    total += 1", "2", "    total += 2"),
        ("    if a < b:  # often", "b", "    if b:  # often"),
        ("    x: int = 3", "4", "    x: int = 4"),
    ],
)
def test_the_value_takes_the_place_of_the_expression_and_all_else_stays(
    line: str, value: str, result: str
) -> None:
    place = place_in(line)
    assert place is not None and place.filled(value) == result


@pytest.mark.parametrize("line", ["x = (", "x: int", "for x in y:", "def f():", "", "a; b = 1"])
def test_a_line_without_an_expression_of_its_own_has_no_place(line: str) -> None:
    assert place_in(line) is None


def test_a_model_that_writes_the_whole_line_as_the_value_means_the_line() -> None:
    edit = {"line": "    return x + 1", "value": "    return x + 2"}
    reply = json.dumps({"idea": "x", "edits": [edit]})
    assert apply_reply(SMALL, plain_answer(reply)) == SMALL.replace("x + 1", "x + 2")
