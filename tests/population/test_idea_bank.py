"""A bank's lines come back as they were written, and no line of a stranger does more than be left out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from operators.source.merge import merge_sources
from operators.source.names import undefined_names
from population.reading.idea_bank import (
    MAX_LINE_BYTES,
    BankError,
    BankIdea,
    IdeaEffect,
    idea_of_line,
    joined,
    line_of,
    read_bank,
)

FINITE = st.floats(-1e9, 1e9)
WORD = st.text("abc xyz-.", max_size=12).map(lambda text: " ".join(text.split()))
EFFECTS = st.builds(
    IdeaEffect,
    metric=st.sampled_from(["val_bpb", "parameters"]),
    rung=st.sampled_from(["proxy", "larger"]),
    mean=FINITE,
    n=st.integers(1, 50),
    sd=st.none() | st.floats(1e-9, 10),
    campaign=WORD,
    child=WORD,
    date=WORD,
    transplant=st.booleans(),
)
SOURCE = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(str.strip)
IDEAS = st.builds(
    BankIdea,
    idea=WORD.filter(bool),
    before=SOURCE,
    after=SOURCE,
    author=WORD,
    licence=WORD,
    effects=st.lists(EFFECTS, max_size=4).map(tuple),
).filter(lambda one: one.before != one.after)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
)
GOOD = BankIdea("wider", "a = 1\n", "a = 2\n", effects=(IdeaEffect("val_bpb", "proxy", -0.1, 3),))


@given(IDEAS)
@example(BankIdea("x", "a", "b", effects=(IdeaEffect("val_bpb", "proxy", 0.0, 3, sd=0.0),)))
def test_a_line_comes_back_as_it_was_written(idea: BankIdea) -> None:
    line = line_of(idea)
    assert "\n" not in line and idea_of_line(line) == idea


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(list(json.loads(line_of(GOOD)))), JSON))
def test_a_line_with_anything_in_it_is_an_idea_or_an_error_in_words(
    changes: dict[str, object],
) -> None:
    line = json.dumps({**json.loads(line_of(GOOD)), **changes})
    try:
        idea = idea_of_line(line)
    except BankError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert idea.before != idea.after and all(one.n >= 1 for one in idea.effects)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bank.jsonl"
    path.write_bytes(raw)
    with pytest.raises(BankError, match=r"bank\.jsonl: "):
        read_bank(path)


def changed(**values: object) -> str:
    return json.dumps({**json.loads(line_of(GOOD)), "id": None, **values} | values)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not JSON: "),
        ("[" * 50_000, "not JSON: "),
        ('{"before": 1' + "0" * 5000 + "}", "not JSON: "),
        ("[]", "not a JSON object"),
        ("{}", "before: a source is needed"),
        (line_of(GOOD).replace("-0.1", "NaN"), "not JSON: NaN is no number"),
        (line_of(GOOD).replace("-0.1", "1e999"), "mean is a finite number"),
        (line_of(GOOD).replace("a = 2", "a = 3"), "id is not that of its sources"),
        (line_of(GOOD).replace('"n": 3', '"n": 0'), "n, the blocks it was measured on"),
        (line_of(GOOD).replace("wider", "\\ud800"), "idea: half a letter"),
        (json.dumps({"before": "x", "after": "x"}), "it changes nothing"),
        (json.dumps({"before": "x", "after": "y" * 100_001}), "after: longer than 100,000 bytes"),
        ('{"idea": "' + "x" * MAX_LINE_BYTES + '"}', "longer than 1,000,000 bytes"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_with_its_number_and_the_others_are_read(
    tmp_path: Path, line: str, told: str
) -> None:
    path = tmp_path / "bank.jsonl"
    path.write_text(f"{line_of(GOOD)}\n\n{line}\n")
    ideas, (wrong,) = read_bank(path)
    assert [one.id for one in ideas] == [GOOD.id]
    assert wrong.startswith(f"{path}: line 3: ") and told in wrong and "\n" not in wrong
    path.write_text(f"{line}\n")
    with pytest.raises(BankError, match="line 1: "):
        read_bank(path)


def test_many_broken_lines_are_counted_and_not_all_told(tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl"
    path.write_text(line_of(GOOD) + "\n" + "{\n" * 30)
    _, wrong = read_bank(path)
    assert len(wrong) == 6 and wrong[-1].endswith("25 more lines like these")


def test_a_bank_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BankError, match=r"none\.jsonl: No such file"):
        read_bank(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(BankError, match="no idea in it"):
        read_bank(tmp_path / "empty.jsonl")


def test_words_of_a_bank_become_one_printable_line() -> None:
    told = json.loads(line_of(GOOD)) | {"idea": "red \x1b[31m\nand\tblue", "author": "x" * 900}
    idea = idea_of_line(json.dumps(told))
    assert idea.idea == "red [31m and blue" and len(idea.author) == 200


@given(IDEAS, st.lists(EFFECTS, max_size=3), st.lists(EFFECTS, max_size=3))
def test_joining_keeps_of_each_measurement_the_fullest_and_joins_no_two(
    idea: BankIdea, first: list[IdeaEffect], second: list[IdeaEffect]
) -> None:
    ones = [BankIdea(idea.idea, idea.before, idea.after, effects=tuple(e)) for e in (first, second)]
    (both,) = joined(ones)
    keys = [one.key for one in both.effects]
    assert len(keys) == len(set(keys)) and set(keys) == {one.key for one in (*first, *second)}
    for one in both.effects:
        assert one.n == max(other.n for other in (*first, *second) if other.key == one.key)
    assert joined([both, *ones]) == [both]


SHIPPED = Path(__file__).parents[2] / "seed" / "ideas"


def test_the_shipped_bank_is_the_one_that_its_readme_describes() -> None:
    ideas, wrong = read_bank(SHIPPED / "model-written.jsonl")
    told = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert not wrong and 8 <= len(ideas) <= 15
    assert hashlib.sha256((SHIPPED / "model-written.jsonl").read_bytes()).hexdigest() in told
    assert all(f"| {one.id[:4]} |" in told for one in ideas)


def test_every_shipped_idea_was_measured_on_three_blocks_at_both_rungs_and_says_whose_it_is() -> (
    None
):
    ideas, _ = read_bank(SHIPPED / "model-written.jsonl")
    begins = {one.before for one in ideas} - {one.after for one in ideas}
    assert len(begins) == 1  # the seed of that day
    for one in ideas:
        assert (one.author, one.licence) == ("language model", "MIT")
        for rung in ("proxy", "larger"):
            (found,) = one.effect("val_bpb", rung)
            assert found.n >= 3 and found.date
            assert one.effect("weights_mb", rung), one.idea


def test_every_shipped_idea_fits_into_the_seed_of_today_after_those_it_builds_on() -> None:
    ideas, _ = read_bank(SHIPPED / "model-written.jsonl")
    seed = (SHIPPED.parent / "train.py").read_text(encoding="utf-8")
    made_by = {one.after: one for one in ideas}
    for last in ideas:
        chain = [last]
        while chain[0].before in made_by:
            chain.insert(0, made_by[chain[0].before])
        source, draws = seed, np.random.default_rng(0)
        for one in chain:
            merged = merge_sources(source, one.after, one.before, draws, join_insertions=True)
            assert not merged.conflicts, one.idea
            source = merged.source
        assert not undefined_names(source)
        assert "LossInSlabs" in source  # what is new in the seed stays
