"""Does what is better at the proxy stay better at the target? Said with n, interval and chance level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from population.statistics.distributions import CONFIDENCE, t_quantile
from population.statistics.intervals import (
    Interval,
    quantile_interval,
    ratio_interval,
    share_interval,
)

MIN_VARIANTS = 10  # below it no rank statistic is given
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """Kendall's tau-b with its bootstrap interval over n variants; uninformative when it holds 0."""

    n: int
    tau: Interval

    @property
    def informative(self) -> bool:
        """Whether the proxy says anything about the target at this n."""
        return not self.tau.holds(0.0)


@dataclass(frozen=True, slots=True)
class TopOverlap:
    """How many of the proxy's best k are among the target's best k, beside chance.

    `expected` by chance is k^2 / n; `p_chance`: of an overlap at least as large.
    """

    k: int
    n: int
    overlap: int
    expected: float
    p_chance: float


@dataclass(frozen=True, slots=True)
class Promotions:
    """Of `tried` graduates that beat the seed at the proxy, `held` beat it at the target; beside controls.

    `p_above_controls`: the probability that graduates do so more often than controls (NaN without).
    """

    held: int
    tried: int
    rate: Interval
    controls_held: int
    controls_tried: int
    controls_rate: Interval
    p_above_controls: float


def kendall_tau(
    proxy: npt.ArrayLike, target: npt.ArrayLike, rng: np.random.Generator, draws: int = DRAWS
) -> RankAgreement | None:
    """Tau-b (Kendall 1945) of two scores with a percentile bootstrap over variants; None below 10."""
    x, y = np.asarray(proxy, dtype=np.float64), np.asarray(target, dtype=np.float64)
    n = len(x)
    if n != len(y):
        raise ValueError("as many proxy scores as target scores are needed")
    if n < MIN_VARIANTS:
        return None
    first, second = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    chosen = rng.integers(0, n, (draws, n))
    taus = np.array([_tau(first[np.ix_(i, i)], second[np.ix_(i, i)]) for i in chosen])
    return RankAgreement(n, quantile_interval(_tau(first, second), taus))


def top_overlap(proxy: npt.ArrayLike, target: npt.ArrayLike, k: int) -> TopOverlap | None:
    """The overlap of the best k (least scores) with its hypergeometric chance level; None below 10."""
    x, y = np.asarray(proxy, dtype=np.float64), np.asarray(target, dtype=np.float64)
    n = len(x)
    if n < MIN_VARIANTS or not 0 < k < n:
        return None
    best = [set(np.argsort(one, kind="stable")[:k].tolist()) for one in (x, y)]
    overlap = len(best[0] & best[1])
    chance = _overlap_probability(overlap, n, k)
    return TopOverlap(k, n, overlap, k * k / n, chance)


def promotions(held: int, tried: int, controls_held: int, controls_tried: int) -> Promotions:
    """Both rates as beta-binomial posteriors (prior Beta(1/2, 1/2)) and how they compare."""
    above = float("nan")
    if tried and controls_tried:
        above = _p_greater(held, tried, controls_held, controls_tried)
    rates = share_interval(held, tried), share_interval(controls_held, controls_tried)
    return Promotions(held, tried, rates[0], controls_held, controls_tried, rates[1], above)


def transfer_ratio(target_gains: Sequence[float], proxy_gains: Sequence[float]) -> Interval | None:
    """Gain at the target per gain at the proxy, each by fresh block, by Fieller's theorem.

    None while the interval of the proxy's gain holds 0: then nothing is there to transfer.
    """
    return ratio_interval(target_gains, proxy_gains)


def regret_at_k(proxy: Mapping[str, float], target: Mapping[str, float], k: int) -> float:
    """What choosing the proxy's best k costs at the target: the best of these less the best known.

    Scores, lower is better, of the variants that have both; 0 when the best is among them.
    """
    both = sorted((id for id in proxy if id in target), key=lambda id: (proxy[id], id))
    if not both or k < 1:
        raise ValueError("needs a variant with both scores and k >= 1")
    return min(target[id] for id in both[:k]) - min(target[id] for id in both)


def _overlap_probability(least: int, n: int, k: int) -> float:
    """P(two random choices of k among n share `least` or more), hypergeometric: exact, in whole numbers."""
    ways = sum(
        math.comb(k, shared) * math.comb(n - k, k - shared) for shared in range(least, k + 1)
    )
    return ways / math.comb(n, k)


def _tau(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Tau-b of two matrices of signs of differences; 0 where everything is tied."""
    scale = float(np.abs(first).sum() * np.abs(second).sum())
    return float((first * second).sum()) / scale**0.5 if scale else 0.0


def _p_greater(hits: int, tries: int, other_hits: int, other_tries: int) -> float:
    """P(p > q) of two Beta posteriors: the mean of q's distribution function over p's quantiles."""
    from scipy.special import betainc, betaincinv

    middles = (np.arange(2000) + 0.5) / 2000
    p = betaincinv(hits + 0.5, tries - hits + 0.5, middles)
    return float(np.mean(betainc(other_hits + 0.5, other_tries - other_hits + 0.5, p)))


# -- The headline: what share of the seed's budget a graduate needs to reach the seed's final score.


Floats = npt.NDArray[np.float64]

MIN_BLOCKS = 3
POINTS = 2001  # of the budgets between the least and the most, evenly in log

Runs = Mapping[int, Mapping[float, float]]  # block -> budget (share of the seed's) -> score


@dataclass(frozen=True, slots=True)
class TimeToReach:
    """Budget shares. None for `value`, `low` or `high` says "not reached within the budgets tried".

    One that equals `least` says "that or less": the smallest budget tried already sufficed.
    """

    value: float | None
    low: float | None
    high: float | None
    least: float
    most: float
    blocks: int


def time_to_reach(
    graduate: Runs, seed_final: Mapping[int, float], confidence: float = CONFIDENCE
) -> TimeToReach | None:
    """Score against log(budget), inverted at the seed's final score; lower is better.

    Each budget is a run with its own full schedule. Per block, straight lines between budgets give the
    gap to the seed's end on that block; the value is where the mean gap first is 0. The interval
    inverts the paired t-test over blocks (as Fieller 1954 does for a ratio): it begins where the graduate is
    no longer significantly worse and ends where it is significantly better. Nothing is
    extrapolated. It covers 95 % at 3 blocks, where resampling blocks covers 71 %. None below 3
    blocks with every budget and the seed, or below 2 budgets.
    """
    budgets = sorted({budget for scores in graduate.values() for budget in scores})
    blocks = [b for b in seed_final if b in graduate and set(graduate[b]) == set(budgets)]
    if len(blocks) < MIN_BLOCKS or len(budgets) < 2:
        return None
    knots = np.log(budgets)
    grid = np.linspace(knots[0], knots[-1], POINTS)
    gaps = np.array(
        [np.interp(grid, knots, [graduate[b][x] - seed_final[b] for x in budgets]) for b in blocks]
    )
    mean = gaps.mean(axis=0)
    half = t_quantile(len(blocks) - 1, confidence) * gaps.std(axis=0, ddof=1)
    half = half / math.sqrt(len(blocks))
    return TimeToReach(
        value=_first(mean <= 0, grid, budgets),
        low=_first(mean - half <= 0, grid, budgets),
        high=_first(mean + half <= 0, grid, budgets),
        least=budgets[0],
        most=budgets[-1],
        blocks=len(blocks),
    )


def _first(reached: npt.NDArray[np.bool_], grid: Floats, budgets: list[float]) -> float | None:
    """The first budget at which it is so; the least one to the digit."""
    if not reached.any():
        return None
    return budgets[0] if reached[0] else float(np.exp(grid[reached.argmax()]))
