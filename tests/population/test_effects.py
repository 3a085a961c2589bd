"""The mixture prior: the most promising children are as good as it says."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from population.statistics.effects import (
    Effects,
    Observations,
    centred_value,
    expected_gain,
    fit,
    weak_prior,
)

Floats = NDArray[np.float64]


def children(rng: np.random.Generator, n: int, regime: str) -> Floats:
    """True gains in run sds: few gain, some do nothing, most do harm."""
    kind = rng.random(n)
    gain = np.abs(rng.normal(0, 0.5 if regime == "small gains" else 1.0, n))
    harm = -np.abs(rng.normal(0, 5, n))
    nothing = np.zeros(n)
    if regime == "nearly nothing":
        nothing, harm = rng.normal(0, 0.1, n), harm * 0.6
    elif regime == "heavy tails":
        gain, harm = rng.exponential(1, n), -3 * np.abs(rng.standard_t(1.5, n))
    elif regime == "mild harm":
        gain, harm = gain * 0.7, harm * 0.2
    shares = {"no gains": (0.0, 0.5), "nearly nothing": (0.1, 0.7), "mild harm": (0.3, 0.8)}
    first, second = shares.get(regime, (0.05, 0.3))
    return np.where(kind < first, gain, np.where(kind < second, nothing, harm))


def believed(
    gains: Iterable[float], prior: Effects, own: float = 1.0, centre: float = 0.0
) -> Floats:
    """Mean and sd of each child's level, [children, 2]."""
    return np.array([centred_value(float(gain), own, centre, prior) for gain in gains])


def normal_by_moments(y: Floats, variance: float) -> Floats:
    """The estimate that does not shrink: centred on the parent, its variance inflated by outliers."""
    tau2 = max(0.0, float(y.var()) - variance)
    return y * tau2 / (tau2 + variance)


@pytest.mark.parametrize(
    ("regime", "too_low", "too_high"),  # run sds, true less believed
    [
        ("as assumed", 0.15, 0.15),
        ("small gains", 0.1, 0.3),
        ("nearly nothing", 0.2, 0.1),
        ("heavy tails", 0.7, 0.1),  # a half-normal gain has no tail: it errs on the careful side
        ("mild harm", 0.1, 0.3),
        ("no gains", 0.1, 0.3),
    ],
)
def test_the_top_hundredth_of_children_is_as_good_as_believed(
    regime: str, too_low: float, too_high: float
) -> None:
    truths, beliefs, singles = [], [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        truth = children(rng, 2000, regime)
        y = truth + rng.normal(size=2000)
        prior = fit(Observations.of(y, 1.0), weak_prior(1.0))
        top = np.argsort(-y)[:20]  # measured once each: who looks best is believed best
        truths.append(truth[top].mean())
        beliefs.append(believed(y[top], prior)[:, 0].mean())
        singles.append(normal_by_moments(y, 1.0)[top].mean())
    assert -too_low < np.mean(beliefs) - np.mean(truths) < too_high
    if regime not in ("mild harm", "heavy tails"):
        assert np.mean(singles) - np.mean(truths) > 1.0  # what the mixture is for


def test_the_posterior_is_the_integral_it_claims_to_be() -> None:
    prior = Effects(nothing=0.3, gain=0.2, harm=0.5, gain_sd=0.8, harm_sd=3.0)
    grid = np.linspace(-25, 25, 500_001)
    step, y, v = grid[1] - grid[0], 0.9, 0.5
    halves = np.where(
        grid > 0,
        0.2 * np.exp(-(grid**2) / (2 * 0.64)) / 0.8,
        0.5 * np.exp(-(grid**2) / 18) / 3,
    ) * math.sqrt(2 / math.pi)
    weight = halves * np.exp(-((y - grid) ** 2) / (2 * v)) * step
    zero = 0.3 * math.exp(-(y**2) / (2 * v))
    whole = weight.sum() + zero
    mean = (weight * grid).sum() / whole
    sd = math.sqrt((weight * grid**2).sum() / whole - mean**2)
    assert centred_value(y, v, 0.0, prior) == pytest.approx((mean, sd), abs=1e-4)
    gain = (weight * grid)[grid > 0].sum() / whole
    assert expected_gain(y, v, prior) == pytest.approx(gain, abs=1e-4)


def test_stopped_children_count_as_harm_of_unknown_size() -> None:
    rng = np.random.default_rng(2)
    truth = children(rng, 1500, "as assumed")
    y = truth + rng.normal(size=1500)
    stopped = y < -3  # a third of all: never finished
    censored = fit(Observations.of(y[~stopped], 1.0, [3.0] * int(stopped.sum())), weak_prior(1.0))
    missing = fit(Observations.of(y[~stopped], 1.0), weak_prior(1.0))
    whole = fit(Observations.of(y, 1.0), weak_prior(1.0))
    assert censored.harm == pytest.approx(whole.harm, abs=0.07)
    assert censored.harm_sd == pytest.approx(whole.harm_sd, rel=0.25)
    assert missing.harm < whole.harm - 0.1
    assert missing.harm_sd < 0.6 * whole.harm_sd


def test_few_children_leave_the_prior_nearly_as_it_was() -> None:
    prior = weak_prior(0.01)
    none = fit(Observations.of([], []), prior)
    assert (none.nothing, none.gain) == pytest.approx((prior.nothing, prior.gain))
    one = fit(Observations.of([0.05], 0.0001), prior)
    assert one.gain < 0.25
    assert centred_value(0.05, 0.0001, 0.0, one)[0] < 0.05


def test_every_extreme_has_a_finite_posterior() -> None:
    y = np.array([-1e6, -40.0, 0.0, 40.0, 1e6])
    assert np.isfinite(believed(y, weak_prior(1.0))).all()
    assert (expected_gain(y, 1.0, weak_prior(1.0)) >= 0).all()


def test_an_objective_without_noise_has_finite_beliefs_and_a_finite_prior() -> None:
    """A size is measured exactly, so that a gain may lie a billion of its standard errors off."""
    gains = np.array([-3e9, -40.0, 0.0, 40.0, 3e9])
    with np.errstate(over="raise", invalid="raise"):
        prior = fit(Observations.of(gains, np.full(5, 1e-18)), weak_prior(1e-9))
        found = believed(gains, prior, own=1e-18)
    assert np.isfinite([prior.nothing, prior.gain, prior.harm, prior.gain_sd, prior.harm_sd]).all()
    assert found[:, 0] == pytest.approx(gains, rel=1e-3)


def test_a_parents_own_error_is_not_taken_for_its_childs_effect() -> None:
    rng = np.random.default_rng(7)
    n, prior = 60_000, Effects(nothing=0.25, gain=0.05, harm=0.7, gain_sd=1.0, harm_sd=5.0)
    effect = children(rng, n, "as assumed")
    parent_error = rng.normal(0, 0.7, n)  # truth of the parent less what is believed of it
    level = effect + parent_error
    y = level + rng.normal(size=n)
    likely = y > 1.0
    mean, sd = believed(y[likely], prior, centre=0.49).T
    assert level[likely].mean() == pytest.approx(mean.mean(), abs=0.03)
    assert np.sqrt(((level[likely] - mean) ** 2).mean()) == pytest.approx(
        np.sqrt((sd**2).mean()), rel=0.05
    )


@pytest.mark.parametrize("bad", [([math.nan], [1.0], []), ([1.0], [0.0], []), ([1], [1], [-1.0])])
def test_observations_that_make_no_sense_are_refused(bad: tuple[list[float], ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Observations.of(*bad)
