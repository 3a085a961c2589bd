"""Parents are good, feasible, measured ones, and the same generator chooses the same."""

from __future__ import annotations

import math
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from population.selection import (
    Candidate,
    choose_pair,
    choose_parents,
    choose_third,
    population,
)

VALUES = st.sampled_from([0.0, 1.0, 2.0]) | st.floats(-1e6, 1e6)
CANDIDATES = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.tuples(st.tuples(*[VALUES] * n), st.sampled_from([0.0, 0.0, 1.5])),
        min_size=1,
        max_size=12,
    ).map(
        lambda rows: [
            Candidate(f"v{k}", values, violation=broken) for k, (values, broken) in enumerate(rows)
        ]
    )
)
SEEDS = st.integers(0, 2**32)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def never_related(a: Candidate, b: Candidate) -> bool:
    return True


@given(CANDIDATES, SEEDS, st.integers(1, 9))
def test_the_same_generator_chooses_the_same(
    candidates: list[Candidate], seed: int, k: int
) -> None:
    chosen = choose_parents(candidates, k, rng(seed))
    assert chosen == choose_parents(candidates, k, rng(seed))
    assert len(chosen) == k
    assert set(chosen) <= set(candidates)


@given(CANDIDATES, SEEDS)
def test_a_third_is_one_of_those_eligible(candidates: list[Candidate], seed: int) -> None:
    def eligible(one: Candidate) -> bool:
        return one.variant_id in ("v2", "v3")

    third = choose_third(candidates, eligible, rng(seed))
    assert third == choose_third(candidates, eligible, rng(seed))
    assert (third is None) == (len(candidates) < 3)
    assert third is None or eligible(third)


@given(CANDIDATES, SEEDS)
def test_a_pair_is_found_whenever_there_is_one(candidates: list[Candidate], seed: int) -> None:
    names = {one.variant_id for one in candidates}
    only = ("v0", "v3")

    def eligible(a: Candidate, b: Candidate) -> bool:
        return {a.variant_id, b.variant_id} == set(only)

    pair = choose_pair(candidates, eligible, rng(seed))
    assert pair == choose_pair(candidates, eligible, rng(seed))
    if names >= set(only):
        assert pair is not None
        assert {one.variant_id for one in pair} == set(only)
    else:
        assert pair is None
    assert (choose_pair(candidates, never_related, rng(seed)) is None) == (len(candidates) == 1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_failure_cannot_be_a_candidate(value: float) -> None:
    with pytest.raises(ValueError, match="no finite values"):
        Candidate("failed", (1.0, value))
    with pytest.raises(ValueError, match="no finite values"):
        Candidate("failed", ())


def test_the_front_and_the_last_measured_are_the_population() -> None:
    candidates = [Candidate(f"v{k}", (float(k),), on_front=k in (0, 7)) for k in range(10)]
    chosen = population(candidates, 3)
    assert [one.variant_id for one in chosen] == ["v0", "v7", "v8", "v9"]
    assert population(candidates, 50) == candidates
    with pytest.raises(ValueError, match="nobody"):
        choose_parents([], 1, rng(0))
    assert choose_pair([], never_related, rng(0)) is None


@pytest.mark.parametrize("size", [2, 5])
def test_better_ranks_are_chosen_more_often_the_more_so_the_larger_the_tournament(
    size: int,
) -> None:
    candidates = [Candidate(f"v{k}", (float(k), float(k))) for k in range(6)]
    counts = Counter(one.variant_id for one in choose_parents(candidates, 3000, rng(1), size))
    assert counts["v0"] > counts["v1"] > counts["v2"] > 0
    # drawn with replacement: the best wins wherever it is drawn at all
    assert counts["v0"] / 3000 == pytest.approx(1 - (5 / 6) ** size, abs=0.03)


def test_in_one_rank_the_lonely_are_chosen_more_often() -> None:
    line = [0.0, 1.0, 1.1, 1.2, 5.0]
    candidates = [Candidate(f"v{k}", (x, -x)) for k, x in enumerate(line)]
    counts = Counter(one.variant_id for one in choose_parents(candidates, 3000, rng(2), 2, 0.0))
    assert min(counts["v0"], counts["v4"]) > counts["v3"] > counts["v2"]


def test_the_feasible_win_over_the_infeasible() -> None:
    candidates = [Candidate("broken", (0.0,), violation=0.1), Candidate("fine", (9.0,))]
    counts = Counter(one.variant_id for one in choose_parents(candidates, 2000, rng(3), 2))
    assert counts["broken"] / 2000 == pytest.approx(0.25, abs=0.04)  # only against itself


def test_pythons_own_random_is_left_as_it_was() -> None:
    candidates = [Candidate(f"v{k}", (float(k), float(-k))) for k in range(9)]
    random.seed(5)
    expected = [random.random() for _ in range(3)]
    random.seed(5)
    found = []
    for k in range(3):
        choose_pair(candidates, never_related, rng(k))
        found.append(random.random())
    assert found == expected


def test_threads_do_not_disturb_each_other() -> None:
    candidates = [Candidate(f"v{k}", (float(k % 4), float(-k))) for k in range(30)]
    alone = [choose_parents(candidates, 5, rng(seed)) for seed in range(40)]
    with ThreadPoolExecutor(8) as threads:
        assert (
            list(threads.map(lambda seed: choose_parents(candidates, 5, rng(seed)), range(40)))
            == alone
        )


def test_most_tournaments_go_by_the_first_objective_and_the_rest_by_the_whole_front() -> None:
    """A front on which rank says nothing: the best in the first objective is the worst in the second."""
    candidates = [Candidate(f"v{k}", (float(k), -float(k))) for k in range(20)]
    counts = Counter(one.variant_id for one in choose_parents(candidates, 3000, rng(4)))
    best = 1 - (19 / 20) ** 5  # of the tournaments by the first objective
    assert counts["v0"] / 3000 >= 0.7 * best
    middle = sum(counts[f"v{k}"] for k in range(10, 19)) / 3000
    assert 0 < middle < 0.25
    ranked = Counter(
        one.variant_id for one in choose_parents(candidates, 3000, rng(4), primary_share=0.0)
    )
    assert ranked["v19"] == pytest.approx(ranked["v0"], rel=0.2)  # both ends alike


def test_an_uncertain_variant_gets_a_chance_by_the_first_objective() -> None:
    sure = [Candidate("best", (1.0, 0.0)), Candidate("known", (2.0, 0.0), sd=0.01)]
    unsure = [Candidate("best", (1.0, 0.0)), Candidate("known", (2.0, 0.0), sd=1.0)]

    def share(candidates: list[Candidate]) -> float:
        chosen = choose_parents(candidates, 2000, rng(6), 5, primary_share=1.0)
        return Counter(one.variant_id for one in chosen)["known"] / 2000

    assert share(sure) < 0.05 < 0.15 < share(unsure)
