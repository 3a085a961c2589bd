"""A variant's difference from the seed is cut into edits, each credited to the step that brought it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.source.atomic_edits import AncestryStep, atomic_edits, with_edits
from operators.source.knobs import with_knobs
from operators.source.merge import merge_sources
from operators.source.parse import SourceError, parse
from population.types import variant_id
from tests.operators.samples import SEED, SMALL


def line(*sources: str, operator: str = "nudge") -> list[AncestryStep]:
    """One after the other, each the child of the one before."""
    ids = [variant_id(one) for one in sources]
    parents = [(), *((one,) for one in ids)]
    return [
        AncestryStep(one, operator, source, above)
        for one, source, above in zip(ids, sources, parents, strict=False)
    ]


def changed(source: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def test_neighbouring_knobs_of_two_steps_are_two_edits_that_can_be_made_apart() -> None:
    first = with_knobs(SMALL, {"EMBED_LR": 0.2})
    second = with_knobs(first, {"MATRIX_LR": 0.04, "WARMUP": 0.2})
    edits = atomic_edits(line(SMALL, first, second))
    assert [one.steps for one in edits] == [(variant_id(first),), (variant_id(second),)]
    assert with_edits(SMALL, edits[:1]) == first
    assert with_edits(SMALL, edits[1:]) == with_knobs(SMALL, {"MATRIX_LR": 0.04, "WARMUP": 0.2})
    assert len(atomic_edits(line(SMALL, first, second), by_place=True)) == 3


def test_a_knob_that_was_moved_twice_belongs_to_the_step_that_gave_it_its_value() -> None:
    first = with_knobs(SMALL, {"EMBED_LR": 0.2, "LAYERS": 5})
    second = with_knobs(first, {"EMBED_LR": 0.1})
    edits = atomic_edits(line(SMALL, first, second))
    assert with_edits(SMALL, edits[:1]) == with_knobs(SMALL, {"LAYERS": 5})
    assert with_edits(SMALL, edits[1:]) == with_knobs(SMALL, {"EMBED_LR": 0.1})


def test_code_that_a_later_step_touched_up_stays_the_edit_of_the_step_that_brought_it() -> None:
    new = "def second(x):\n    y = x * 2\n    z = y + 1\n    return z\n\n\nclass Model:"
    first = changed(SMALL, ("class Model:", new), ("x = first(x)", "x = second(first(x))"))
    touched = changed(first, ("z = y + 1", "z = y + 3"))
    last = with_knobs(touched, {"LAYERS": 5})
    edits = atomic_edits(line(SMALL, first, touched, last))
    assert [one.steps for one in edits] == [(variant_id(first),), (variant_id(last),)]
    assert with_edits(SMALL, edits[:1]) == touched


def test_what_a_merge_took_over_is_credited_to_the_steps_of_both_lines() -> None:
    ours, theirs = with_knobs(SMALL, {"MATRIX_LR": 0.04}), with_knobs(SMALL, {"EMBED_LR": 0.2})
    both = merge_sources(ours, theirs, SMALL, np.random.default_rng(0)).source
    ids = [variant_id(one) for one in (SMALL, ours, theirs, both)]
    steps = [
        AncestryStep(ids[0], "seed", SMALL, ()),
        AncestryStep(ids[1], "nudge", ours, (ids[0],)),
        AncestryStep(ids[2], "nudge", theirs, (ids[0],)),
        AncestryStep(ids[3], "merge", both, (ids[1], ids[2])),
    ]
    edits = atomic_edits(steps)
    assert [one.steps for one in edits] == [(ids[1],), (ids[2],)]
    assert with_edits(SMALL, edits[1:]) == theirs


def test_what_a_revert_brought_back_is_credited_to_the_step_it_came_from() -> None:
    first = changed(SMALL, ("return x + 1", "return x + 2"))
    second = with_knobs(changed(first, ("return x + 2", "return x * 7")), {"LAYERS": 5})
    back = changed(second, ("return x * 7", "return x + 2"))
    ids = [variant_id(one) for one in (SMALL, first, second, back)]
    steps = [
        *line(SMALL, first, second),
        AncestryStep(ids[3], "revert", back, (ids[2],)),
    ]
    assert [one.steps for one in atomic_edits(steps)] == [(ids[1],), (ids[2],)]


def test_an_edit_that_needs_another_is_joined_with_it() -> None:
    first = changed(SMALL, ("class Model:", "def third(x):\n    return x\n\n\nclass Model:"))
    other = with_knobs(first, {"LAYERS": 5})
    last = changed(other, ("x = first(x)", "x = third(first(x))"))
    edits = atomic_edits(line(SMALL, first, other, last))
    assert [one.steps for one in edits] == [
        (variant_id(first), variant_id(last)),
        (variant_id(other),),
    ]


def test_an_edit_of_comments_alone_is_known_as_such() -> None:
    first = changed(SMALL, ("# Optimiser", "# The optimiser's rates"))
    last = with_knobs(first, {"LAYERS": 5})
    edits = atomic_edits(line(SMALL, first, last))
    assert [one.form_only for one in edits] == [True, False]


def test_a_variant_that_does_not_parse_is_refused() -> None:
    with pytest.raises(SourceError):
        atomic_edits(line(SMALL, SMALL + "def ("))


EDITS = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from(["drop", "twice", "pass", "knob", "end"])),
    min_size=1,
    max_size=4,
)


STEPS = st.lists(EDITS, min_size=1, max_size=4)


def edited(source: str, made: list[tuple[int, str]]) -> str:
    """Some lines changed, none so that the source no longer parses."""
    for at, how in made:
        lines = source.splitlines(keepends=True)
        at %= len(lines)
        head = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        new = {
            "drop": [],
            "twice": [lines[at], lines[at]],
            "pass": [f"{head}pass\n", lines[at]],
            "knob": [lines[at].replace("1", "3")],
            "end": [lines[at], f"{head}left = {at}\n"],
        }[how]
        made_now = "".join([*lines[:at], *new, *lines[at + 1 :]])
        try:
            parse(made_now)
        except SourceError:
            continue
        source = made_now
    return source


@settings(max_examples=15)
@given(st.sampled_from([SMALL, SMALL, SMALL, SEED]), st.booleans(), STEPS)
def test_all_edits_together_are_the_variant_and_each_can_be_made_and_left_out(
    source: str, by_place: bool, steps: list[list[tuple[int, str]]]
) -> None:
    sources = [source]
    for one in steps:
        made = edited(sources[-1], one)
        if made not in sources:
            sources.append(made)
    edits = atomic_edits(line(*sources), by_place)
    assert with_edits(source, edits) == sources[-1]
    assert with_edits(source, []) == source
    if len(edits) > 1:
        for one in edits:
            parse(with_edits(source, [one]))
            parse(with_edits(source, [other for other in edits if other is not one]))
