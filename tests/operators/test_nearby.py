"""Before a model proposes, it is told what the parent's code showed with nearly the same constants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.agent import history as history_of
from operators.operator import KnobSetting, Request
from operators.prompting import MAX_SETTINGS, mutate_messages, nearby
from operators.source.knobs import with_knobs
from tests.operators.histories import FakeHistory, setting
from tests.operators.samples import SMALL, request


def rate(value: float) -> str:
    return with_knobs(SMALL, {"MATRIX_LR": value})


def asked(*others: KnobSetting, source: str = SMALL, value: float | None = 1.0) -> Request:
    """A request about a parent with this value, beside others of its history."""
    one = request(source)
    parent = replace(setting(source, value), variant_id=one.parents[0].variant_id)
    return replace(one, history=FakeHistory([parent, *others], seed=SMALL))


def test_the_nearest_comes_first_with_its_effect_against_the_parent_and_what_differs() -> None:
    told = nearby(
        asked(
            setting(rate(0.09), None, failed=True),
            setting(rate(0.03), 0.95),
            setting(with_knobs(rate(0.021), {"WARMUP": 0.11}), 1.002),
        )
    )
    assert told == [
        "- 1.0000 -> 1.0020, +0.0020 ± 0.0071 (n = 1), inconclusive: MATRIX_LR = 0.021, WARMUP = 0.11",
        "- 1.0000 -> 0.9500, -0.0500 ± 0.0071 (n = 1): MATRIX_LR = 0.03",
        "- failed: MATRIX_LR = 0.09",
    ]


def test_what_waits_what_is_the_same_again_and_other_code_are_no_settings() -> None:
    other = SMALL.replace("x + 1", "x + 2")
    assert not nearby(
        asked(
            setting(rate(0.03), None),
            setting(SMALL.replace("# Training", "# Training it"), 1.01),
            setting(with_knobs(other, {"MATRIX_LR": 0.03}), 0.9, own=False),
        )
    )
    assert not nearby(request(SMALL)) and not nearby(request("def ("))


def test_another_value_of_what_has_no_range_is_far() -> None:
    source, other = (SMALL.replace("TIED =", f"MODE = {one!r}\nTIED =") for one in ("a", "b"))
    far = setting(with_knobs(source, {"MATRIX_LR": 0.09}), 1.1)
    told = nearby(asked(setting(other, 1.2), far, source=source))
    assert [line.split(": ")[1] for line in told] == ["MATRIX_LR = 0.09", "MODE = 'b'"]


def test_without_a_score_of_the_parent_nothing_is_compared() -> None:
    assert nearby(asked(setting(rate(0.03), 0.95), value=None)) == [
        "- no comparison: MATRIX_LR = 0.03"
    ]


@pytest.mark.parametrize("told", [lambda one: mutate_messages(one)[-1].content, history_of])
def test_models_and_agents_are_shown_the_nearest_alone_and_quoted(told) -> None:
    rates = [setting(rate((20 + at) / 1000), 1.1) for at in range(1, 20)]
    text = told(asked(*rates))
    lines = [line for line in text.split("\n") if ": MATRIX_LR = " in line]
    assert [line.rsplit(" ", 1)[1] for line in lines] == [
        f"{(20 + at) / 1000}" for at in range(1, MAX_SETTINGS + 1)
    ]
    quoted = text.split("<data settings ")[1].split("</data")[0]
    assert all(line in quoted for line in lines)
