"""Rows that earlier runs were not asked: which ones a run gets, and when the others are known too well."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.evaluation.data import Dataset, DataSettings, Floats, count_chunks
from evo.evaluation.unseen import (
    MAX_SDS,
    MIN_BLOCKS,
    MIN_ROWS,
    Reserve,
    blocks_held,
    divide,
    gap_in_sds,
)
from population.types import PAIRED, Purpose, RunRequest

CONTEXT, ROWS = 128, 256
ORDER = RunRequest("a" * 64, "proxy", 7, 0, Purpose.RACE)


@pytest.fixture(scope="module")
def reserve(dataset: Dataset) -> Reserve:
    return Reserve(dataset, "val", CONTEXT, ROWS, 0)


def rows_of(reserve: Reserve, request: RunRequest) -> set[bytes]:
    unseen = reserve.of(request)
    assert unseen is not None
    return {row.tobytes() for row in unseen.hidden.tokens}


def test_both_sides_of_a_pair_are_asked_the_same_rows_on_every_resume(
    reserve: Reserve, dataset: Dataset
) -> None:
    same = [replace(ORDER, variant_id="b" * 64), *(replace(ORDER, purpose=one) for one in PAIRED)]
    assert {frozenset(rows_of(reserve, one)) for one in (ORDER, *same)} == {
        frozenset(rows_of(Reserve(dataset, "val", CONTEXT, ROWS, 0), ORDER))
    }


def test_no_row_of_a_comparison_was_asked_by_the_search_or_on_an_earlier_block(
    reserve: Reserve, dataset: Dataset
) -> None:
    asked = {row.tobytes() for row in dataset.hidden("val", CONTEXT, ROWS).tokens}
    for number in range(300):
        request = RunRequest(f"{number:064}", "proxy", number % 6, 0, Purpose.SCREEN)
        asked |= rows_of(reserve, request)
    fresh = 0
    for block in range(40):
        unseen = reserve.of(replace(ORDER, block=block))
        assert unseen is not None
        rows = {row.tobytes() for row in unseen.hidden.tokens}
        assert unseen.again == bool(rows & asked)
        asked |= rows
        fresh += not unseen.again
    assert fresh >= 20


def test_upper_rungs_take_their_rows_from_the_other_end(reserve: Reserve, dataset: Dataset) -> None:
    upper = Reserve(dataset, "val", CONTEXT, ROWS, 1)
    rows = [rows_of(upper, replace(ORDER, block=one)) for one in range(4)]
    assert not any(one & other for one, other in pairwise(rows))
    for block in range(15):
        assert not rows_of(reserve, replace(ORDER, block=block)) & rows[0]


def test_runs_that_search_are_asked_few_rows_of_their_own(reserve: Reserve) -> None:
    requests = [RunRequest(f"{one:064}", "proxy", 0, 0, Purpose.SCREEN) for one in range(50)]
    asked = [rows_of(reserve, one) for one in requests]
    assert all(len(one) == MIN_ROWS for one in asked)
    assert len(set().union(*asked)) > 0.7 * sum(map(len, asked))


def test_unseen_rows_are_spread_over_the_documents_like_the_others(
    reserve: Reserve, dataset: Dataset
) -> None:
    unseen = reserve.of(ORDER)
    assert unseen is not None
    always = dataset.hidden("val", CONTEXT, ROWS)
    for name in dataset.documents("val"):
        mine, theirs = unseen.hidden.documents.count(name), always.documents.count(name)
        share = theirs * len(unseen.hidden.tokens) / ROWS
        assert abs(mine - share) <= 3 + 0.2 * share


@pytest.mark.parametrize("left", [0, 5, 40])
def test_text_that_holds_little_more_than_the_sample_gives_what_it_has(
    dataset: Dataset, left: int
) -> None:
    chunks = len(dataset.reserve("val", 2048, 1))
    small = Reserve(dataset, "val", 2048, min(chunks + 1 - left, 32), 0)
    unseen = small.of(replace(ORDER, block=1))
    assert unseen is None or len(unseen.hidden.tokens) >= MIN_ROWS


def gap(asked: Floats, unseen: Floats) -> tuple[float, float]:
    """Of rows that are all of one document."""
    return gap_in_sds(asked, unseen, ["one"] * len(asked), ["one"] * len(unseen))


@given(seed=st.integers(0, 10_000), unseen=st.integers(MIN_ROWS, 64), tail=st.floats(0.1, 0.6))
def test_honest_costs_with_heavy_tails_show_no_gap(seed: int, unseen: int, tail: float) -> None:
    rng = np.random.default_rng(seed)
    rows = np.exp(rng.normal(0.0, tail, 256 + unseen))[:, None] + np.zeros((1, 8))
    assert gap(rows[:256], rows[256:])[1] < MAX_SDS


def test_a_gap_is_told_in_standard_errors() -> None:
    rng = np.random.default_rng(3)
    asked, unseen = rng.normal(2.0, 0.3, (256, 1)), rng.normal(2.0, 0.3, (64, 1))
    assert abs(gap(asked, unseen)[1]) < 4
    by, sds = gap(asked - 0.5, unseen)
    assert by == pytest.approx(0.5, abs=0.1) and sds > MAX_SDS
    assert gap(asked + 0.5, unseen)[1] < 0


@given(seed=st.integers(0, 10_000), knows=st.booleans())
def test_short_documents_that_only_the_asked_rows_hold_are_no_gap(seed: int, knows: bool) -> None:
    rng = np.random.default_rng(seed)
    easy, hard = rng.normal(0.5, 0.05, (200, 1)), rng.normal(2.0, 0.2, (56, 1))
    asked, unseen = np.concatenate([easy, hard]), rng.normal(2.0, 0.2, (16, 1))
    short, long = [f"licence {one}" for one in range(200)], ["a novel", "a play"]
    _, sds = gap_in_sds(asked - 0.8 * knows, unseen, [*short, *long * 28], long * 8)
    assert (sds > MAX_SDS) == knows


@given(seed=st.integers(0, 10_000), knows=st.booleans())
def test_one_row_far_out_neither_makes_nor_hides_a_gap(seed: int, knows: bool) -> None:
    rng = np.random.default_rng(seed)
    asked, unseen = rng.normal(1.5, 0.1, (1024, 1)), rng.normal(1.5, 0.1, (16, 1))
    unseen[0] += 12.0
    assert (gap(asked - 0.5 * knows, unseen)[1] > MAX_SDS) == knows


@given(
    chunks=st.integers(0, 100_000), sample=st.integers(1, 2_000), blocks=st.sampled_from([1, 64])
)
def test_fresh_rows_last_for_the_blocks_asked_for_or_are_a_quarter_of_the_sample(
    chunks: int, sample: int, blocks: int
) -> None:
    held, rows = divide(chunks, sample, blocks)
    assert held * rows <= chunks and rows <= sample
    assert (held == 0) == (rows == 0) == (min(chunks, sample) < MIN_ROWS)
    if held:
        assert rows >= MIN_ROWS
        assert held >= blocks or rows <= max(sample // 4, MIN_ROWS)
        assert rows == sample or (held + 1) * rows > chunks  # none is left over for no reason


def test_a_small_text_lasts_for_a_nights_proof_and_says_how_long(dataset: Dataset) -> None:
    chunks = count_chunks(DataSettings(), CONTEXT)
    assert chunks is not None
    reserve = Reserve(dataset, "val", CONTEXT, ROWS, 0)
    held = reserve.blocks_held()
    assert held == blocks_held(chunks, ROWS) >= MIN_BLOCKS
    asked: set[bytes] = set()
    for block in range(held + 1):
        unseen = reserve.of(replace(ORDER, block=block))
        assert unseen is not None and len(unseen.hidden.tokens) >= ROWS // 4
        rows = {row.tobytes() for row in unseen.hidden.tokens}
        assert unseen.again == (block == held) == bool(rows & asked)
        asked |= rows


def test_an_older_campaign_goes_on_with_as_many_fresh_rows_as_it_began_with(
    reserve: Reserve,
) -> None:
    unseen = reserve.of(ORDER, int(True))
    assert unseen is not None and len(unseen.hidden.tokens) == ROWS
    assert reserve.blocks_held(int(True)) == 21
