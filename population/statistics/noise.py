"""How noisy a run is: within and across blocks, what blocks buy, drift, and what greedy makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from population.statistics.certification import Rule, Smallest, smallest_gain
from population.statistics.distributions import CONFIDENCE
from population.statistics.estimates import block_means
from population.statistics.intervals import Interval
from population.types import MeasurementRow, Purpose

EWMA_WEIGHT = 0.2
EWMA_WIDTH = 3.0  # standard errors
DRAWS_SEED = 20_26


@dataclass(frozen=True, slots=True)
class Spread:
    """A standard deviation with its interval; `freedom` degrees of freedom."""

    sd: float
    low: float
    high: float
    freedom: int


@dataclass(frozen=True, slots=True)
class Drift:
    """An EWMA chart of reference runs: the smoothed values, their limits, the first run outside (or None)."""

    smoothed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    first_outside: int | None


@dataclass(frozen=True, slots=True)
class GreedyKeeps:
    """What "keep whatever scored lower once" does to children that are all no better than the seed.

    `keeps` and `claimed_gain` are means over simulated campaigns; the true gain is 0.
    """

    children: int
    keeps: float
    claimed_gain: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the seed's runs say of this campaign. Sds and gains are in the metric's unit.

    `correlation` is what blocks can buy at most: the share of a run's variance that its block
    explains; its interval holds 0 while nothing is established. `pair_sd`: of a difference on one
    block. `smallest` None: no gain can be certified with these pairs and attempts, or nothing is known of it
    as repeats are equal; `smallest_range`: what it is at the ends of the interval of the across sd.
    """

    across: Spread
    within: Spread
    correlation: Interval
    pair_sd: float
    rule: Rule
    smallest: Smallest | None
    smallest_range: tuple[float, float] | None
    greedy: GreedyKeeps

    @property
    def repeats_are_equal(self) -> bool:
        """The same code gives the same number: how a changed script varies in pairs cannot be told from it."""
        return self.within.sd == 0


def seed_samples(rows: Iterable[MeasurementRow], metric: str) -> tuple[list[float], list[float]]:
    """The seed's calibrating runs among these rows of one rung: across its blocks and within block 0.

    Across: one mean a block, repeats averaged, as everywhere else; within: every run on block 0.
    """
    runs = [
        row
        for row in rows
        if row.measurement.request.purpose is Purpose.CALIBRATE
        and metric in row.measurement.metrics
    ]
    across = [mean for found in block_means(runs).values() for mean in found[metric].values()]
    within = [row.measurement.metrics[metric] for row in runs if row.measurement.request.block == 0]
    return across, within


def calibrate(
    across: Sequence[float],
    within: Sequence[float],
    rule_of: Callable[[float], Rule],
    children: int,
    rng: np.random.Generator,
    power: float = 0.8,
) -> Calibration:
    """From the seed once on each of k blocks and k times on one: at least two runs each.

    `rule_of` gives the procedure in force at a run's sd, `children` how many the campaign can afford. The
    pair sd is sqrt(2 (1 - r)) x the across sd, r the lower bound of the correlation: only what is established.
    """
    a, w = spread(across), spread(within)
    bought = block_correlation(a, w)
    established = max(bought.low, 0.0)
    pair_sd = math.sqrt(2 * (1 - established)) * a.sd if a.sd else math.sqrt(2) * w.sd
    rule = rule_of(a.sd)
    found = smallest_gain(rule, pair_sd, rng, power) if pair_sd and w.sd else None
    ends = None
    if found is not None and a.sd:  # what a gain is above the boundary goes with the sd
        above = found.gain - rule.min_gain
        low, high = (rule_of(sd).min_gain + above * sd / a.sd for sd in (a.low, a.high))
        ends = (low, high)
    return Calibration(a, w, bought, pair_sd, rule, found, ends, greedy_keeps(children, w.sd, rng))


def spread(values: Sequence[float], confidence: float = CONFIDENCE) -> Spread:
    """The sd of normal values with its chi-squared interval. ValueError below two values."""
    from scipy.special import chdtri

    if len(values) < 2:
        raise ValueError("an sd needs two values or more")
    freedom, sd = len(values) - 1, float(np.std(np.asarray(values), ddof=1))
    if min(values) == max(values):
        sd = 0.0  # the mean of equal numbers may differ from them by rounding
    tail = (1 - confidence) / 2
    low, high = (sd * math.sqrt(freedom / float(chdtri(freedom, p))) for p in (tail, 1 - tail))
    return Spread(sd, low, high, freedom)


def block_correlation(across: Spread, within: Spread, confidence: float = CONFIDENCE) -> Interval:
    """1 - (within / across)^2 with its interval from the F distribution of the variance ratio.

    The intraclass correlation of one run a block (Shrout and Fleiss 1979, ICC(1,1), with the two
    variances from separate runs). Below 0 only by chance; it is not cut there.
    """
    from scipy.special import fdtri

    if across.sd == 0:
        return Interval(0.0, 0.0, 0.0)
    ratio = (within.sd / across.sd) ** 2
    tail = (1 - confidence) / 2
    low, high = (float(fdtri(across.freedom, within.freedom, p)) for p in (tail, 1 - tail))
    return Interval(1 - ratio, 1 - ratio * high, 1 - ratio * low)


def drift(
    values: Sequence[float],
    centre: float,
    sd: float,
    centre_runs: int,
    weight: float = EWMA_WEIGHT,
    width: float = EWMA_WIDTH,
) -> Drift:
    """Reference runs of the seed after calibration, on an EWMA chart (Roberts 1959).

    Limits: centre -+ width x sd sqrt(weight / (2 - weight) (1 - (1 - weight)^2t) + 1 / centre_runs):
    the last term because the centre itself is a mean of that many runs. What is outside asks for a look
    at throughput and clocks; it never voids a measurement by itself.
    """
    smoothed, low, high, now, first = [], [], [], centre, None
    for t, value in enumerate(values, start=1):
        now += weight * (value - now)
        variance = weight / (2 - weight) * (1 - (1 - weight) ** (2 * t)) + 1 / centre_runs
        half = width * sd * math.sqrt(variance)
        smoothed.append(now)
        low.append(centre - half)
        high.append(centre + half)
        if first is None and abs(now - centre) > half:
            first = t - 1
    return Drift(tuple(smoothed), tuple(low), tuple(high), first)


def greedy_keeps(
    children: int, sd: float, rng: np.random.Generator, campaigns: int = 2000
) -> GreedyKeeps:
    """One run each, keep what beats the best so far, children as good as the seed: all keeps are false."""
    scores = rng.normal(0.0, sd, (campaigns, children + 1))
    best = np.minimum.accumulate(scores, axis=1)
    keeps = (scores[:, 1:] < best[:, :-1]).sum(axis=1)
    return GreedyKeeps(children, float(keeps.mean()), float((scores[:, 0] - best[:, -1]).mean()))
