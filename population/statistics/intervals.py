"""Intervals of shares, means and ratios that several findings need, each with its source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from population.statistics.distributions import CONFIDENCE, HALVINGS, t_quantile


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its bounds, in the estimate's unit."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Student's t interval of a mean; None below two values."""
    n = len(values)
    if n < 2:
        return None
    x = np.asarray(values, dtype=np.float64)
    half = t_quantile(n - 1, confidence) * float(x.std(ddof=1)) / math.sqrt(n)
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half)


def share_interval(hits: int, tries: int, confidence: float = CONFIDENCE) -> Interval:
    """Posterior mean and interval of a share, prior Beta(1/2, 1/2) (Brown, Cai, DasGupta 2001).

    Nothing seen: the prior's own. The bound on the side of 0 hits or 0 misses is 0 or 1.
    """
    from scipy.special import betaincinv

    a, b, tail = hits + 0.5, tries - hits + 0.5, (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(a, b, tail))
    high = 1.0 if hits == tries else float(betaincinv(a, b, 1 - tail))
    return Interval(a / (a + b), low, high)


def share_at_most(hits: int, tries: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper bound of a share (Clopper and Pearson 1934); 1 when nothing was tried.

    By bisection on the binomial tail: reading commands stay light.
    """
    if hits >= tries:
        return 1.0
    low, high = hits / tries, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _at_most(hits, tries, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(hits: int, tries: int, share: float) -> float:
    """P(X <= hits) of a binomial count."""
    if share <= 0 or share >= 1:
        return float(share <= 0)
    odds, rest = math.log(share), math.log1p(-share)
    ways = math.lgamma(tries + 1)
    return sum(
        math.exp(
            ways - math.lgamma(k + 1) - math.lgamma(tries - k + 1) + k * odds + (tries - k) * rest
        )
        for k in range(hits + 1)
    )


def ratio_interval(
    above: Sequence[float], below: Sequence[float], confidence: float = CONFIDENCE
) -> Interval | None:
    """mean(above) / mean(below) of independent samples, by Fieller's theorem.

    Welch's degrees of freedom at the estimated ratio. None while the interval of mean(below) holds
    0 (the ratio then has no bounded interval) or either sample has fewer than two values.
    """
    bottom = mean_interval(below, confidence)
    if bottom is None or len(above) < 2 or bottom.holds(0.0):
        return None
    x, y = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    top, base = float(x.mean()), float(y.mean())
    v_top, v_base = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    ratio = top / base
    parts = (v_top, ratio**2 * v_base)
    whole = sum(parts)
    if whole == 0:
        return Interval(ratio, ratio, ratio)
    freedom = whole**2 / (parts[0] ** 2 / (len(x) - 1) + parts[1] ** 2 / (len(y) - 1))
    t2 = t_quantile(freedom, confidence) ** 2
    left = base**2 - t2 * v_base
    if left <= 0:
        return None
    root = math.sqrt(max((top * base) ** 2 - left * (top**2 - t2 * v_top), 0.0))
    return Interval(ratio, (top * base - root) / left, (top * base + root) / left)


def quantile_interval(
    value: float, draws: npt.ArrayLike, confidence: float = CONFIDENCE
) -> Interval:
    """The percentile interval of bootstrap draws (Efron and Tibshirani 1993, ch. 13)."""
    low, high = np.quantile(np.asarray(draws), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))
