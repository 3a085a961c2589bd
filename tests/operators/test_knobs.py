"""Knobs are read from remarks and changed without touching anything else."""

from __future__ import annotations

import ast
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.nudge import MAX_KNOBS, Nudge, moved
from operators.operator import ProposalFailed
from operators.source.constants import (
    constants,
    structure_of,
    tunable,
    with_settings,
    wrong_range,
)
from operators.source.knobs import (
    KnobError,
    KnobKind,
    read_knobs,
    sound_knobs,
    unreadable_knobs,
    with_knobs,
)
from population.fingerprint import value_of
from tests.operators.samples import SEED, SMALL, request


def test_every_kind_of_knob_is_read() -> None:
    knobs = {knob.name: knob for knob in read_knobs(SMALL)}
    assert knobs["MATRIX_LR"].kind is KnobKind.LOG
    assert (knobs["MATRIX_LR"].low, knobs["MATRIX_LR"].high) == (1e-3, 1e-1)
    assert knobs["ACTIVATION"].choices == ("relu2", "gelu", "silu")
    assert knobs["TIED"].choices == (False, True)
    assert knobs["LAYERS"].whole and knobs["BATCH"].whole and not knobs["EMBED_LR"].whole
    assert knobs["WARMUP"].line == 8


def test_the_seed_has_at_least_fourteen_knobs_all_in_their_ranges() -> None:
    knobs = read_knobs(SEED)
    assert len(knobs) >= 14
    assert all(knob.holds(knob.value) for knob in knobs)


def test_only_the_literal_changes() -> None:
    child = with_knobs(SMALL, {"MATRIX_LR": 0.03, "ACTIVATION": "gelu", "TIED": False, "BATCH": 64})
    expected = (
        SMALL.replace("0.02  # knob", "0.03  # knob")
        .replace('"relu2"  #', '"gelu"  #')
        .replace("TIED = True", "TIED = False")
        .replace("BATCH = 32", "BATCH = 64")
    )
    assert child == expected


@pytest.mark.parametrize(
    "source",
    [
        "LR = 1e-3  # knob: log 1e-4 1e-1\r\nWIDTH = 4 # KNOB: int 1 8\r\n",
        "µ = 'é'; LR = 1e-3  # knob: log 1e-4 1e-1; what it is for\nWIDTH: int = (4)  # knob: int 1 8",
        "\x0cLR = 1e-3  # knob: log 1e-4 1e-1\n\x0c\nWIDTH = 4  # knob: int 1 8\n",
    ],
)
def test_odd_layouts_are_kept(source: str) -> None:
    child = with_knobs(source, {"LR": 0.01, "WIDTH": 5})
    assert child == source.replace("1e-3 ", "0.01 ").replace("4)", "5)").replace("= 4", "= 5")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("LR = 1 / x  # knob: log 1e-3 1", "one number"),
        ("f(a=1, b=2)  # knob: int 1 8", "here are a, b"),
        ("LR = (0.1, 'a')  # knob: log 1e-3 1", "one number"),
        ("LR = 0.1  # knob: lin 1e-3 1", "log a b"),
        ("LR = 0.1  # knob:", "log a b"),
        ("LR = 0.1  # knob: log 1e-3", "two numbers"),
        ("LR = 0.1  # knob: log 1 1e-3", "smaller one first"),
        ("LR = 0.1  # knob: log 1e-3 1 10", "two numbers"),
        ("LR = 0.1  # knob: log 1e-3 to 1", "two numbers"),
        ("# knob: log 1e-3 1\nLR = 0.1", "top-level"),
        ("f = dict(\n    lr=0.1,  # knob: log 1e-3 1\n)", "top-level"),
        ("if GOOD:  # knob: log 1e-3 1\n    pass", "top-level"),
        ("LR = 0.1  # knob: float 0 inf", "two numbers"),
        ("LR = 0.1  # knob: log 0 1", "above 0"),
        ("LR = 0.1  # knob: int 0 1", "whole numbers"),
        ("LR = 'a'  # knob: float 0 1", "needs a number"),
        ("LR = 'a'  # knob: choice a", "two different"),
        ("LR = 1  # knob: choice a b", "type of its value"),
        ("if 1:\n    LR = 1  # knob: int 0 3", "top-level"),
        ("LR = 1  # knob: int 0 3\nLR = 2  # knob: int 0 3", "twice"),
    ],
)
def test_a_malformed_remark_is_named_with_its_line_and_the_others_still_work(
    line: str, words: str
) -> None:
    source = f"GOOD = 1  # knob: int 0 3\n{line}\n"
    with pytest.raises(KnobError, match=rf"line [2-4]: .*{words}"):
        read_knobs(source)
    assert "GOOD" in [knob.name for knob in sound_knobs(source)]
    (told,) = unreadable_knobs(source)
    assert re.match(rf"line [2-4]: .*{words}", told)


@pytest.mark.parametrize("remark", ["   n_embd a layer", " (per layer)", "; a, b", ", then 5"])
def test_what_follows_a_range_is_for_people(remark: str) -> None:
    (knob,) = read_knobs(f"WIDTH = 64  # knob: int 32, 96{remark}\n")
    assert (knob.low, knob.high) == (32, 96)
    assert not unreadable_knobs(f"WIDTH = 64  # knob: int 32 96{remark}\n# Knobs: two\n")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"NONE": 1}, "no knob NONE; the knobs are: MATRIX_LR"),
        ({"MATRIX_LR": 1.0}, "line 6: MATRIX_LR = 1.0 is not in log 0.001 0.1"),
        ({"LAYERS": 2.5}, "is not in int"),
        ({"TIED": 1}, "is not in choice"),
        ({"MATRIX_LR": math.nan}, "is not in log"),
    ],
)
def test_a_value_that_cannot_be_is_refused(values: dict[str, float], words: str) -> None:
    with pytest.raises(KnobError, match=words):
        with_knobs(SMALL, values)


@given(st.text(max_size=200))
def test_any_text_reads_as_knobs_or_says_why_not(text: str) -> None:
    try:
        knobs = sound_knobs(text)
    except KnobError:
        return
    assert with_knobs(text, {knob.name: knob.value for knob in knobs}) == text


_remarks = st.text(alphabet="0123456789.e+- abcdefghijlnotf;,'\"_٣", max_size=30)
_literals = st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans()).map(repr)


@given(_literals, _remarks, st.integers(0, 2**32))
def test_any_remark_is_a_knob_that_can_be_turned_or_a_clear_error(
    literal: str, remark: str, seed: int
) -> None:
    source = f"X = {literal}  # knob: {remark}\n"
    try:
        (knob,) = read_knobs(source) or (None,)
    except KnobError as error:
        assert str(error).startswith("line 1: ")
        return
    if knob is None:
        return
    value = moved(knob, np.random.default_rng(seed))
    if value is not None:
        (again,) = read_knobs(with_knobs(source, {"X": value}))
        assert again.value == value != knob.value
        assert again.holds(value)


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_a_nudge_changes_one_to_three_knobs_within_their_ranges(seed: int) -> None:
    draft = Nudge().propose(request(SEED, seed=seed))
    old, new = ({k.name: k for k in read_knobs(source)} for source in (SEED, draft.source))
    changed = [name for name in old if old[name].value != new[name].value]
    assert 1 <= len(changed) <= MAX_KNOBS
    assert all(new[name].holds(new[name].value) for name in changed)
    assert all(f"{name} {old[name].value} -> {new[name].value}" in draft.idea for name in changed)


@given(st.integers(0, 2**32))
def test_a_knob_out_of_its_range_or_at_its_end_is_brought_back(seed: int) -> None:
    for value in ("5.0", "0.1", "0.001"):
        draft = Nudge().propose(request(f"LR = {value}  # knob: log 1e-3 1e-1\n", seed=seed))
        (knob,) = read_knobs(draft.source)
        assert knob.holds(knob.value) and knob.value != float(value)


def test_a_nudge_without_a_knob_to_turn_fails_with_a_reason() -> None:
    for source in ("x = 1\n", "def (:\n"):
        with pytest.raises(ProposalFailed, match=r"no knob that can move|does not parse"):
            Nudge().propose(request(source))


KINDS = """
import argparse
from dataclasses import dataclass
lr = 3e-4  # knob: log 1e-5 1e-2
BATCH = 2**19  # knob: log 65536 1048576
betas = (0.9, 0.95)  # knob: float 0.5 0.999
parser = argparse.ArgumentParser()
parser.add_argument("-d", "--depth", type=int, default=12)  # knob: int 2 24

@dataclass
class Settings:
    warmup: int = 256  # knob: log 16 4096
    kind: str = "cosine"  # knob: choice cosine linear

def build(model):
    return Adam(model, decay=0.1)  # knob: float 0 0.5
"""


def test_knobs_stand_wherever_people_keep_their_numbers() -> None:
    knobs = {one.name: one for one in read_knobs(KINDS)}
    assert {name: one.value for name, one in knobs.items()} == {
        "lr": 3e-4,
        "BATCH": 2**19,
        "betas[0]": 0.9,
        "betas[1]": 0.95,
        "--depth": 12,
        "Settings.warmup": 256,
        "Settings.kind": "cosine",
        "decay": 0.1,
    }
    moved = with_knobs(
        KINDS, {"BATCH": 2**18, "betas[1]": 0.99, "--depth": 6, "Settings.kind": "linear"}
    )
    expected = (
        KINDS.replace("2**19", "262144")
        .replace("0.95)", "0.99)")
        .replace("default=12", "default=6")
    )
    assert moved == expected.replace('"cosine"', '"linear"')
    assert not unreadable_knobs(KINDS)
    plain = re.sub("  # knob.*", "", KINDS)
    assert (
        structure_of(with_knobs(KINDS, {"lr": 1e-3})).fingerprint == structure_of(plain).fingerprint
    )


def test_without_comments_ranges_are_guessed_of_what_reads_as_a_setting() -> None:
    plain = (
        re.sub("  # knob.*", "", KINDS)
        + "eval_interval = 500\nstep = 3\nstep += 1\ndropout = 0.0\n"
    )
    found = {one.name: (one.low, one.high) for one in tunable(plain, (), {})}
    assert set(found) == {
        "lr",
        "BATCH",
        "betas[0]",
        "betas[1]",
        "--depth",
        "Settings.warmup",
        "Adam.decay",
        "dropout",
    }
    assert found["lr"] == (pytest.approx(7.5e-5), pytest.approx(1.2e-3))
    assert found["dropout"] == (0.0, 0.5) and found["BATCH"] == (2**17, 2**21)
    assert set(constants(plain)) == {*found, "Settings.kind", "eval_interval"}


CALLS = """
from sklearn.ensemble import GradientBoostingClassifier
train, test = train_test_split(read(skiprows=1), test_size=0.2, random_state=3)
model = GradientBoostingClassifier(n_estimators=100, learning_rate=0.1).fit(train)
net = Sequential(Dropout(p=0.0), Linear(4, 8, bias=False), Dropout(p=0.1))
optimizer = optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.95))
print(net(test).mean(dim=1), round(model.score(test), ndigits=3))
"""


def test_numbers_that_a_call_is_given_by_name_are_offered_and_those_of_the_split_are_not() -> None:
    found = {one.name: one for one in tunable(CALLS, (), {})}
    assert {name: one.text for name, one in found.items()} == {
        "GradientBoostingClassifier.n_estimators": "100",
        "GradientBoostingClassifier.learning_rate": "0.1",
        "Dropout.p[0]": "0.0",
        "Dropout.p[1]": "0.1",
        "AdamW.lr": "1e-3",
        "AdamW.betas[0]": "0.9",
        "AdamW.betas[1]": "0.95",
    }
    moves = {"GradientBoostingClassifier.n_estimators": 50, "Dropout.p[1]": 0.2}
    child = with_settings(CALLS, tuple(found.values()), moves)
    assert child == CALLS.replace("=100", "=50").replace("p=0.1", "p=0.2")
    assert structure_of(child).fingerprint == structure_of(CALLS).fingerprint
    assert structure_of(child.replace("dim=1", "dim=0")) != structure_of(child)


def test_ranges_by_name_stand_beside_the_comments_and_nothing_else_is_guessed() -> None:
    ranges = {"AdamW.lr": "log 1e-4 1", "train_test_split.test_size": "float 0.1 0.3"}
    own = "WIDTH = 4  # knob: int 1 9\n"
    found = {one.name: (one.low, one.high) for one in tunable(own + CALLS, (), {}, ranges)}
    assert found == {
        "WIDTH": (1, 9),
        "AdamW.lr": (1e-4, 1),
        "train_test_split.test_size": (0.1, 0.3),
    }
    assert wrong_range(CALLS, ranges) is None
    assert "there is no constant lr; there are: AdamW.lr" in str(
        wrong_range(CALLS, {"lr": "log 1e-4 1"})
    )
    assert "AdamW.lr: `log` needs two numbers" in str(wrong_range(CALLS, {"AdamW.lr": "log 1"}))


def test_a_field_of_a_class_and_a_constant_may_have_one_name() -> None:
    source = (
        "@dataclass\nclass Config:\n    dropout: float = 0.0\n    width: int = 8\n\ndropout = 0.1\n"
    )
    assert set(constants(source)) == {"Config.dropout", "Config.width", "dropout"}
    assert "dropout" not in constants(f"{source}\ndef go():\n    dropout = 1\n")


def test_a_comment_keeps_the_name_it_gives_a_number_of_a_call() -> None:
    source = "optimizer = AdamW(net, lr=1e-3)  # knob: log 1e-4 1\n"
    assert [one.name for one in tunable(source, (), {})] == ["lr"]
    assert constants(source) == {"lr": 1e-3}
    moved = with_knobs(source, {"lr": 0.01})
    assert structure_of(moved).fingerprint == structure_of(source).fingerprint


def test_of_a_source_that_speaks_to_the_harness_no_call_is_turned() -> None:
    sealed = f"import harness\n{CALLS}"
    assert not tunable(sealed, (), {}) and not constants(sealed)


@pytest.mark.parametrize(
    ("text", "value"),
    [("2**19", 2**19), ("5 * 8", 40), ("-1e-3", -1e-3), ("1 / 8", 0.125), ("3 * (2 + 2)", 12),
     ("9**9**9", None), ("1 / 0", None), ("x * 2", None), ("(-8) ** 0.5", None), ("1e300 * 1e300", None)],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(text: str, value: float | None) -> None:
    assert value_of(ast.parse(text, mode="eval").body) == value
