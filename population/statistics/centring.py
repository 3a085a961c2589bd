"""What a child is believed to be: its posterior, one at a time and in plain Python.

What a running campaign believes must not depend on how many children it asks about at once, and what is
computed on a whole array may differ in the last digit with its length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from population.statistics.effects import Effects
from population.types import Estimate

ASYMPTOTIC_BELOW = -20.0  # from here on erfc would soon underflow
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def centred_value(gain: float, own: float, centre: float, prior: Effects) -> tuple[float, float]:
    """Mean and sd of a child's true level above the *believed* level of what it is centred on.

    The difference `gain` is effect + the centre's error (variance `centre`) + the child's noise (`own`), the
    sum of both variances above 0. Given the effect, both errors are normal and share what is left in
    proportion to their variances.
    """
    mean, variance = _effect(gain, own + centre, prior)
    to_centre = centre / (own + centre)
    value = (1 - to_centre) * mean + to_centre * gain
    return value, math.sqrt((1 - to_centre) ** 2 * variance + to_centre * own)


def centre_of(parents: Sequence[Estimate], ancestor: Estimate | None = None) -> tuple[float, float]:
    """Mean and variance of what a child is centred on: its parent, or a + b - ancestor of a merge.

    With k parents the ancestor is in the sum k times and counts once, so it goes off k - 1 times.
    """
    mean, variance = sum(one.mean for one in parents), sum(one.sd**2 for one in parents)
    if len(parents) == 1 or ancestor is None:
        return mean / len(parents), variance / len(parents) ** 2
    surplus = len(parents) - 1
    return mean - surplus * ancestor.mean, variance + (surplus * ancestor.sd) ** 2


def _effect(gain: float, variance: float, prior: Effects) -> tuple[float, float]:
    """Posterior mean and variance of an effect seen through normal noise."""
    parts = [(_log(prior.nothing) - 0.5 * (math.log(variance) + gain**2 / variance), 0.0, 0.0)]
    for sign, weight, sd in ((1, prior.gain, prior.gain_sd), (-1, prior.harm, prior.harm_sd)):
        total = variance + sd**2
        centre, spread = sign * gain * sd**2 / total, sd * math.sqrt(variance / total)
        z = centre / spread
        above = log_normal_share(z)
        log_share = math.log(2.0) - 0.5 * (math.log(total) + gain**2 / total) + above
        hazard = math.exp(-0.5 * z * z - HALF_LOG_2PI - above)
        mean = max(centre + spread * hazard, 0.0)
        square = max(spread**2 + centre * mean, mean**2)
        parts.append((_log(weight) + log_share, sign * mean, square))
    largest = max(one[0] for one in parts)
    shares = [math.exp(one[0] - largest) for one in parts]
    whole = sum(shares)
    mean = sum(share * one[1] for share, one in zip(shares, parts, strict=True)) / whole
    square = sum(share * one[2] for share, one in zip(shares, parts, strict=True)) / whole
    return mean, max(square - mean**2, 0.0)


def log_normal_share(z: float) -> float:
    """log P(standard normal <= z), also far out (Abramowitz and Stegun 26.2.12)."""
    if z > 5:
        return math.log1p(-0.5 * math.erfc(z / math.sqrt(2)))
    if z > ASYMPTOTIC_BELOW:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2)))
    x = 1 / (z * z)
    series = -x * (1 - x * (3 - x * (15 - 105 * x)))
    return -0.5 * z * z - math.log(-z) - HALF_LOG_2PI + math.log1p(series)


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else -math.inf
