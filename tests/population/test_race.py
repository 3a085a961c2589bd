"""The final race: it pays what it may, finds better than an equal split, and keeps its books."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from population.statistics.race import plan, race, selection_bias
from population.types import Estimate


@given(st.integers(0, 12), st.integers(0, 100))
def test_a_race_never_spends_more_than_its_runs(entrants: int, runs: int) -> None:
    scores: dict[str, dict[int, float]] = {}
    leaders = [f"v{k}" for k in range(entrants)]
    spent = 0
    while (state := race(leaders, runs, scores)).to_run:
        for id, block in state.to_run:
            assert block not in scores.setdefault(id, {})
            scores[id][block] = float(hash((id, block)) % 97)
            spent += 1
    assert spent <= runs
    assert state.winner in leaders if leaders else state.winner is None
    if entrants > 1 and runs >= entrants:
        assert spent > runs - 2 * entrants


def raced(truth: np.ndarray, runs: int, rng: np.random.Generator, halving: bool) -> float:
    """What the winner of one race falls short of the best; half the run variance is the block's."""
    k, blocks = len(truth), rng.normal(0, math.sqrt(0.5), runs)
    made = truth[:, None] + blocks + rng.normal(0, math.sqrt(0.5), (k, runs))
    if not halving:
        return float(truth[made[:, : runs // k].mean(axis=1).argmin()] - truth.min())
    ids, scores = [str(v) for v in range(k)], {str(v): dict[int, float]() for v in range(k)}
    while (state := race(ids, runs, scores)).to_run:
        for id, block in state.to_run:
            scores[id][block] = float(made[int(id), block])
    return float(truth[int(state.winner or 0)] - truth.min())


def test_halving_finds_a_better_winner_than_an_equal_split() -> None:
    rng = np.random.default_rng(1)
    pairs = []
    for _ in range(1200):
        truth, seed = rng.normal(0, 1, 8), int(rng.integers(1 << 30))
        pairs.append([raced(truth, 24, np.random.default_rng(seed), h) for h in (True, False)])
    ours, equal = np.mean(pairs, axis=0)
    assert ours < 0.75 * equal


def test_a_failed_run_loses_the_race() -> None:
    scores = {"a": {0: math.inf, 1: 1.0}, "b": {0: 2.0, 1: 2.0}}
    assert race(["a", "b"], 4, scores).winner == "b"


def test_what_the_search_believed_counts_by_its_n() -> None:
    scores = {"a": {0: 2.0}, "b": {0: 1.9}}
    believed = {"a": Estimate(1.0, 0.1, 6), "b": Estimate(2.0, 0.1, 1)}
    assert race(["a", "b"], 2, scores).winner == "b"
    assert race(["a", "b"], 2, scores, believed).winner == "a"


def test_what_a_leader_knows_of_the_rows_that_are_always_asked_wins_no_race() -> None:
    """One is 1 better at the rows that it was believed from, in the race as before it."""
    scores = {"knows": {0: 2.3}, "honest": {0: 2.0}}
    asked = {"knows": {0: 1.2}, "honest": {0: 2.0}}
    believed = {"knows": Estimate(1.0, 0.1, 6), "honest": Estimate(2.0, 0.1, 6)}
    assert race(["knows", "honest"], 2, scores, believed).winner == "knows"
    assert race(["knows", "honest"], 2, scores, believed, asked).winner == "honest"
    asked["knows"][0] = 1.5  # .5 worse than believed: this block was no luck for it
    assert race(["knows", "honest"], 2, scores, believed, asked).winner == "knows"


def test_a_plan_halves_the_field_each_round() -> None:
    assert [(one.entrants, one.upto_block) for one in plan(8, 32)] == [(8, 1), (4, 4), (2, 10)]
    assert plan(1, 10) == ()
    assert plan(5, 3)[0].entrants == 3


def test_the_interval_of_the_selection_bias_covers_it() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        search = Estimate(float(rng.normal(1.5, 0.5)), 0.5, 4)  # truly 1.0: half an sd of luck
        found = selection_bias(search, rng.normal(1.0, 1.0, 5).tolist())
        assert found is not None
        covered += found.bias.holds(0.5)
    assert covered / 300 == pytest.approx(0.95, abs=0.03)


def test_a_bias_without_error_bars_has_no_interval() -> None:
    assert selection_bias(Estimate(1.0, 0.1, 4), [1.0]) is None
    found = selection_bias(Estimate(1.0, math.nan, 1), [0.5, 0.6])
    assert found is not None
    assert found.bias.value == pytest.approx(0.45)
    assert math.isnan(found.bias.low)
