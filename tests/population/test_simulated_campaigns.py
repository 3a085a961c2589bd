"""Whole simulated campaigns: ours claims seldom and rightly, and finds no less than keeping every winner."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from population.statistics.intervals import share_at_most

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FEW_GAINS, NO_GAINS = 0, 5


@pytest.fixture(scope="module")
def simulated() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import simulate_policies

        yield simulate_policies
    finally:
        sys.path.remove(str(BENCHMARKS))


def false_promotions(results: Any) -> int:
    return sum(any(claim.true_gain <= 0 for claim in one.promotions) for one in results)


def test_where_nothing_gains_greedy_always_claims_and_we_hardly_ever(simulated: Any) -> None:
    regime = simulated.REGIMES[NO_GAINS]
    assert false_promotions(simulated.campaigns(regime, "greedy", 30)) >= 27
    ours = simulated.campaigns(regime, "ours", 30)
    assert false_promotions(ours) <= 2
    assert np.mean([one.gain for one in ours]) > -0.1


def test_where_few_children_gain_we_find_as_much_and_claim_what_is_true(simulated: Any) -> None:
    regime = simulated.REGIMES[FEW_GAINS]
    ours = simulated.campaigns(regime, "ours", 30)
    every = simulated.campaigns(regime, "race every winner", 30)
    assert np.mean([one.gain for one in ours]) > 1.5 * np.mean([one.gain for one in every])
    claims = [claim for one in ours for claim in one.promotions]
    excess = np.mean([claim.claimed - claim.true_gain for claim in claims])
    assert abs(excess) < 0.2  # runs made after the decision are not lucky ones


@pytest.mark.soak
def test_false_promotions_stay_below_alpha_in_every_regime(simulated: Any) -> None:
    for regime in simulated.REGIMES:
        results = simulated.campaigns(regime, "ours", 150)
        assert share_at_most(false_promotions(results), len(results)) < 0.1
