"""Two lineages' changes come together: knobs by name, blocks by name, lines last."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.merge import Merge
from operators.nudge import moved
from operators.operator import ProposalFailed
from operators.source.knobs import read_knobs, with_knobs
from operators.source.merge import join_blocks, merge_lines, merge_sources, split_blocks
from tests.operators.samples import SEED, SMALL, request

NAMES = [knob.name for knob in read_knobs(SMALL)]


def merged(first: str, second: str, ancestor: str = SMALL, seed: int = 0) -> str:
    return Merge().propose(request(first, second, ancestor, seed=seed)).source


def turned(source: str, names: list[str], seed: int) -> str:
    rng = np.random.default_rng(seed)
    knobs = {knob.name: knob for knob in read_knobs(source)}
    values = {name: moved(knobs[name], rng) for name in names}
    return with_knobs(source, {name: value for name, value in values.items() if value is not None})


@given(st.data(), st.integers(0, 2**32))
def test_disjoint_knob_edits_both_survive(data: st.DataObject, seed: int) -> None:
    order = data.draw(st.permutations(NAMES))
    cut = data.draw(st.integers(1, len(order) - 1))
    end = data.draw(st.integers(cut + 1, len(order)))
    first, second = turned(SMALL, order[:cut], seed), turned(SMALL, order[cut:end], seed + 1)
    child = merged(first, second, seed=seed)
    want = {knob.name: knob.value for knob in read_knobs(first)}
    want |= {k.name: k.value for k in read_knobs(second) if k.name in order[cut:end]}
    assert {knob.name: knob.value for knob in read_knobs(child)} == want
    assert child == with_knobs(SMALL, want)  # and nothing else has changed


@pytest.mark.parametrize("at", range(len(NAMES) - 1))
def test_neighbouring_knob_lines_changed_by_different_parents_both_survive(at: int) -> None:
    first, second = turned(SMALL, [NAMES[at]], 1), turned(SMALL, [NAMES[at + 1]], 2)
    child = Merge().propose(request(first, second, SMALL))
    assert child.source == turned(first, [NAMES[at + 1]], 2)
    assert child.idea == f"knob {NAMES[at]} from first; knob {NAMES[at + 1]} from second"


def test_a_knob_changed_by_both_takes_a_side_at_random_and_says_so() -> None:
    first = with_knobs(SMALL, {"MATRIX_LR": 0.03, "WARMUP": 0.2})
    second = with_knobs(SMALL, {"MATRIX_LR": 0.01, "LAYERS": 5})
    drafts = [Merge().propose(request(first, second, SMALL, seed=seed)) for seed in range(20)]
    rates = {read_knobs(draft.source)[0].value for draft in drafts}
    assert rates == {0.03, 0.01}
    assert all("1 conflict drawn at random" in draft.idea for draft in drafts)
    assert all("WARMUP = 0.2 " in draft.source for draft in drafts)


def test_edits_of_different_functions_both_survive() -> None:
    first = SMALL.replace("return x + 1", "return x + 2")
    second = SMALL.replace("return LAYERS", "return 2 * LAYERS")
    draft = Merge().propose(request(first, second, SMALL))
    assert draft.source == first.replace("return LAYERS", "return 2 * LAYERS")
    assert draft.idea == "block first from first; block Model from second"


def test_edits_within_one_class_join_by_lines() -> None:
    first = SMALL.replace("return LAYERS", "return LAYERS + 1")
    second = SMALL.replace("x = first(x)", "x = first(first(x))")
    draft = Merge().propose(request(first, second, SMALL))
    assert draft.source == first.replace("x = first(x)", "x = first(first(x))")
    assert draft.idea == "block Model joined by lines"


def test_a_conflict_inside_a_block_takes_one_side_there_and_keeps_the_rest() -> None:
    first = turned(SMALL.replace("x + 1", "x + 2"), ["WARMUP"], 1)
    second = turned(SMALL.replace("x + 1", "x + 3"), ["LAYERS"], 2)
    children = {merged(first, second, seed=seed) for seed in range(20)}
    assert len(children) == 2
    both = turned(first, ["LAYERS"], 2)
    assert children == {both, both.replace("x + 2", "x + 3")}


def test_new_blocks_of_both_sides_are_kept_in_their_places() -> None:
    first = SMALL.replace("class Model", "def extra(x):\n    return x\n\n\nclass Model")
    second = SMALL.replace("# Training", "CAP = 1.0  # knob: log 0.1 10\n\n# Training")
    child = merged(first, second)
    assert child == first.replace("# Training", "CAP = 1.0  # knob: log 0.1 10\n\n# Training")


def test_a_block_deleted_by_one_side_goes_when_the_other_left_it_alone() -> None:
    first = SMALL.replace("WARMUP = 0.1  # knob: float 0.0 0.5\n", "")
    second = turned(SMALL, ["LAYERS"], 3)
    assert merged(first, second) == turned(first, ["LAYERS"], 3)


def test_a_block_deleted_here_and_changed_there_is_a_conflict() -> None:
    first = turned(SMALL.replace("WARMUP = 0.1  # knob: float 0.0 0.5\n", ""), ["LAYERS"], 1)
    second = turned(turned(SMALL, ["WARMUP"], 2), ["BATCH"], 2)
    drafts = [Merge().propose(request(first, second, SMALL, seed=seed)) for seed in range(20)]
    assert {"WARMUP" in draft.source for draft in drafts} == {True, False}
    assert all("1 conflict" in draft.idea for draft in drafts)


def test_moved_blocks_stay_moved() -> None:
    lines = ["MATRIX_LR = 0.02  # knob: log 1e-3 1e-1\n", "EMBED_LR = 0.3  # knob: log 1e-2 1\n"]
    first = SMALL.replace("".join(lines), lines[1] + lines[0])
    second = turned(SMALL, ["MATRIX_LR"], 4)
    child = merged(first, second)
    assert child.index("EMBED_LR") < child.index("MATRIX_LR")
    assert read_knobs(child)[1].value == read_knobs(second)[0].value


def test_a_changed_loop_is_still_the_same_loop() -> None:
    first = SMALL.replace("while run.progress() < 1:", "while run.progress() < 0.9:")
    second = SMALL.replace("(1.0), BATCH)", "(2.0), BATCH)")
    assert merged(first, second) == first.replace("(1.0), BATCH)", "(2.0), BATCH)")


def test_a_comment_changed_here_and_the_code_below_it_there_both_survive() -> None:
    first = turned(SMALL.replace("# Optimiser", "# The optimiser"), ["LAYERS"], 1)
    second = turned(SMALL, ["MATRIX_LR"], 2)
    assert merged(first, second) == turned(first, ["MATRIX_LR"], 2)


def test_line_ends_of_the_first_parent_are_kept() -> None:
    first, second = turned(SMALL, ["WARMUP"], 1), turned(SMALL, ["LAYERS"], 2)
    child = merged(first.replace("\n", "\r\n"), second)
    assert child == merged(first, second).replace("\n", "\r\n")


@pytest.mark.parametrize("seed", range(3))
def test_a_merge_that_brings_nothing_new_fails_with_a_reason(seed: int) -> None:
    child = turned(SMALL, ["MATRIX_LR"], seed)
    for pair in ((child, SMALL), (SMALL, child), (child, child), (SMALL, SMALL)):
        with pytest.raises(ProposalFailed, match="the same code as its"):
            merged(*pair)
    with pytest.raises(ProposalFailed, match="the same code"):  # any draw equals a parent
        merged(child, turned(SMALL, ["MATRIX_LR"], seed + 10))


def test_a_parent_that_does_not_parse_fails_with_a_reason() -> None:
    with pytest.raises(ProposalFailed, match="does not parse"):
        merged("def (:\n", SMALL)


def test_real_edits_of_the_seed_come_together() -> None:
    first = with_knobs(SEED, {"MATRIX_LR": 0.03, "HEAD_DIM": 64})
    first = first.replace("return F.relu(x).square()", "return F.relu(x) ** 3")
    second = with_knobs(SEED, {"EMBED_LR": 0.05, "WARMDOWN": 0.3})
    second = second.replace('"""Mean nats a token."""', '"""Mean nats."""\n    x = x.long()')
    assert first != SEED != second
    draft = Merge().propose(request(first, second, SEED))
    for piece in (
        "** 3",
        "x = x.long()",
        "MATRIX_LR = 0.03 ",
        "EMBED_LR = 0.05 ",
        "WARMDOWN = 0.3 ",
    ):
        assert piece in draft.source
    assert "conflict" not in draft.idea


# -- the pieces --------------------------------------------------------------------------------------

_lines = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=8)


@given(_lines, _lines)
def test_diff3_takes_the_only_side_that_changed(ancestor: list[str], side: list[str]) -> None:
    for first, second in ((side, ancestor), (ancestor, side), (side, side)):
        hunks = merge_lines(ancestor, first, second)
        assert not any(hunk.conflict for hunk in hunks)
        assert [line for hunk in hunks for line in hunk.first] == side


@given(_lines, _lines, _lines)
def test_diff3_is_symmetric_and_invents_no_line(
    ancestor: list[str], first: list[str], second: list[str]
) -> None:
    there = merge_lines(ancestor, first, second)
    back = merge_lines(ancestor, second, first)
    assert [(h.first, h.second) for h in there] == [(h.second, h.first) for h in back]
    known = {*ancestor, *first, *second}
    assert all(line in known for hunk in there for line in (*hunk.first, *hunk.second))


@given(st.integers(0, 4), st.integers(5, 9))
def test_diff3_joins_changes_of_different_lines(low: int, high: int) -> None:
    ancestor = list("0123456789")
    first, second = list(ancestor), list(ancestor)
    first[low], second[high] = "x", "y"
    hunks = merge_lines(ancestor, first, second)
    assert not any(hunk.conflict for hunk in hunks)
    joined = [line for hunk in hunks for line in hunk.first]
    assert (joined[low], joined[high]) == ("x", "y")


@pytest.mark.parametrize(
    "source", [SEED, SMALL, "", "# only\n", "a = 1; b = 2\nif a: b = 3", "\n\n"]
)
def test_blocks_hold_every_character_under_distinct_names(source: str) -> None:
    blocks = split_blocks(source)
    assert join_blocks(blocks) == source
    assert len({block.key for block in blocks}) == len(blocks)


_pieces = st.sampled_from(
    [
        *("A = 1  # knob: int 0 9\n", "A = 2\n", "B = 1\n", "B = 1; A = 3\n", "print(1)\n"),
        *("if A:\n    B = 2\n", "if A:\n    B = 3\nelse:\n    pass\n", "print(2)\n", "# note\n"),
        *("def f():\n    return 1\n", "def f():\n    x = 1\n    return x\n", "@f\ndef g(): pass\n"),
        *("import os\n", "\n"),
    ]
)
_sources = st.lists(_pieces, max_size=8).map("".join)


@given(_sources, _sources, _sources, st.integers(0, 2**32))
def test_any_three_sources_merge_into_one_that_parses(
    first: str, second: str, ancestor: str, seed: int
) -> None:
    child = merge_sources(first, second, ancestor, np.random.default_rng(seed)).source
    compile(child, "child", "exec")


@given(_sources, _sources, st.integers(0, 2**32))
def test_a_side_that_changed_nothing_leaves_the_other_as_it_is(
    side: str, ancestor: str, seed: int
) -> None:
    for pair in ((side, ancestor), (ancestor, side), (side, side)):
        done = merge_sources(*pair, ancestor, np.random.default_rng(seed))
        assert done.conflicts == 0
        assert done.source == side


LISTED = "class Model:\n    def __init__(self):\n        self.a = 1\n        self.z = 1\n"


def test_lines_put_into_one_place_by_both_sides_are_kept_where_that_is_asked_for() -> None:
    first, second = (
        LISTED.replace("        self.z", f"        self.{x} = 1\n        self.z") for x in "bc"
    )
    rng = np.random.default_rng(0)
    joined = merge_sources(first, second, LISTED, rng, join_insertions=True)
    assert joined.source.index("self.b") < joined.source.index("self.c") and not joined.conflicts
    assert merge_sources(first, second, LISTED, rng).conflicts == 1


def test_a_line_changed_by_both_sides_conflicts_though_insertions_are_joined() -> None:
    first, second = (LISTED.replace("self.z = 1", f"self.z = {x}") for x in (2, 3))
    rng = np.random.default_rng(0)
    assert merge_sources(first, second, LISTED, rng, join_insertions=True).conflicts == 1
