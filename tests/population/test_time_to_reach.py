"""Time to reach: inverted between budgets, censored beyond them, never extrapolated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from population.statistics.transfer import time_to_reach

BUDGETS = (0.6, 0.75, 0.9, 1.0)
Runs = dict[int, dict[float, float]]


def curve(share: float, noise: np.ndarray, blocks: np.ndarray) -> tuple[Runs, dict[int, float]]:
    """A graduate whose score falls by 0.1 a unit of log budget and equals the seed's 2.2 at `share`."""
    runs = {
        b: {
            x: 2.2 - 0.1 * math.log(x / share) + blocks[b] + noise[b, k]
            for k, x in enumerate(BUDGETS)
        }
        for b in range(len(blocks))
    }
    return runs, {b: 2.2 + blocks[b] + noise[b, -1] for b in range(len(blocks))}


def noiseless(share: float) -> tuple[Runs, dict[int, float]]:
    return curve(share, np.zeros((3, 5)), np.array([0.1, -0.1, 0.05]))


def test_the_seeds_score_is_found_between_two_budgets() -> None:
    found = time_to_reach(*noiseless(0.8))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.8, 0.8), rel=1e-3)
    assert found.blocks == 3


def test_not_reached_is_said_and_not_extrapolated() -> None:
    found = time_to_reach(*noiseless(1.3))
    assert found is not None
    assert (found.value, found.low, found.high) == (None, None, None)


def test_reached_at_the_least_budget_says_that_or_less() -> None:
    found = time_to_reach(*noiseless(0.3))
    assert found is not None
    assert found.value == found.least == pytest.approx(0.6)


def test_too_few_blocks_or_budgets_give_nothing() -> None:
    runs, seed = noiseless(0.8)
    assert time_to_reach({b: runs[b] for b in (0, 1)}, seed) is None
    assert time_to_reach({b: {1.0: runs[b][1.0]} for b in runs}, seed) is None
    assert time_to_reach({**runs, 2: {1.0: 2.0}}, seed) is None  # one block is incomplete


@pytest.mark.parametrize("blocks", [3, 6, 12])
def test_the_interval_covers_whatever_the_number_of_blocks(blocks: int) -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(600):
        noise = rng.normal(0, 0.005, (blocks, 5))
        found = time_to_reach(*curve(0.8, noise, rng.normal(0, 0.02, blocks)))
        assert found is not None
        # "that or less" and "not reached" are open ends
        above = found.low is not None and (found.low <= 0.8)
        covered += above and (found.high is None or found.high >= 0.8)
    assert covered / 600 == pytest.approx(0.95, abs=0.025)


def test_an_end_beyond_the_budgets_is_open() -> None:
    noise = np.random.default_rng(3).normal(0, 0.02, (4, 5))
    found = time_to_reach(*curve(0.97, noise, np.zeros(4)))
    assert found is not None
    assert found.high is None and found.low is not None
