"""Calibration: intervals cover, drift is seen, and what blocks buy is not overstated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from population.statistics.certification import Rule
from population.statistics.noise import (
    block_correlation,
    calibrate,
    drift,
    greedy_keeps,
    spread,
)

RULE = Rule(attempts=10)


def test_the_intervals_of_sd_and_correlation_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    sd_covered = correlation_covered = 0
    for _ in range(1500):
        across = spread(rng.normal(0, 1, 6).tolist())
        within = spread(rng.normal(0, math.sqrt(0.4), 5).tolist())
        found = block_correlation(across, within)
        sd_covered += across.low <= 1 <= across.high
        correlation_covered += found.low <= 0.6 <= found.high
    assert sd_covered / 1500 == pytest.approx(0.95, abs=0.02)
    assert correlation_covered / 1500 == pytest.approx(0.95, abs=0.02)


def test_four_runs_each_buy_no_smaller_pair_sd_than_they_establish() -> None:
    across = [2.187, 2.214, 2.221, 2.227]
    found = calibrate(
        across, [2.19, 2.205, 2.2, 2.21], lambda sd: RULE, 40, np.random.default_rng(2)
    )
    assert found.correlation.low < 0 < found.correlation.value
    assert found.pair_sd == pytest.approx(math.sqrt(2) * float(np.std(across, ddof=1)))
    assert found.smallest is not None
    assert found.smallest.gain == pytest.approx(1.3 * found.pair_sd, rel=0.1)
    assert found.smallest.pairs < 16


def test_runs_that_are_all_alike_calibrate_without_an_error() -> None:
    found = calibrate([2.0] * 3, [2.0] * 3, lambda sd: RULE, 5, np.random.default_rng(3))
    assert (found.pair_sd, found.smallest, found.correlation.value) == (0.0, None, 0.0)


def test_an_sd_of_one_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="two values"):
        spread([1.0])


def test_a_steady_machine_raises_few_alarms_and_a_drifting_one_is_caught() -> None:
    rng = np.random.default_rng(4)

    def alarms(shift: float) -> float:
        seen = []
        for _ in range(400):
            start = rng.normal(0, 1, 8)
            values = rng.normal(shift, 1, 20)
            chart = drift(values.tolist(), float(start.mean()), 1.0, len(start))
            seen.append(chart.first_outside is not None)
        return float(np.mean(seen))

    assert alarms(0.0) < 0.05
    assert alarms(2.0) > 0.95


def test_the_chart_names_the_first_run_outside() -> None:
    chart = drift([0.0, 0.1, 9.0, 9.0, 9.0], centre=0.0, sd=1.0, centre_runs=10)
    assert chart.first_outside == 2
    assert len(chart.smoothed) == len(chart.low) == len(chart.high) == 5


def test_greedy_keeps_a_harmonic_number_of_children_that_are_no_better() -> None:
    found = greedy_keeps(40, 0.01, np.random.default_rng(5))
    assert found.keeps == pytest.approx(sum(1 / (k + 1) for k in range(1, 41)), rel=0.05)
    assert found.claimed_gain == pytest.approx(0.0217, abs=0.001)  # E[max of 41] = 2.17 sd
