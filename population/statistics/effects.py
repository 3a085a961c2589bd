"""What a child does to its parent: a mixture prior fitted to measured pairs, and the gain to expect from it.

Effects are gains: above 0 the child is better. Three parts: exactly nothing (weight `nothing`), a
gain |N(0, gain_sd^2)|, a harm -|N(0, harm_sd^2)|. Halves of a normal rather than whole ones, because
then a part has a sign, the parts cannot swap names, and P(gain) is simply the weight of one part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from population.types import Estimate

Floats = npt.NDArray[np.float64]

ROUNDS = 500  # EM steps at most
TOLERANCE = 1e-5  # relative change of every parameter that ends EM


@dataclass(frozen=True, slots=True)
class Effects:
    """The prior of a child's effect; weights sum to 1, sds in the metric's unit."""

    nothing: float
    gain: float
    harm: float
    gain_sd: float
    harm_sd: float


@dataclass(frozen=True, slots=True)
class Observations:
    """Measured pairs: child minus parent gains with their variances, and the bounds of the unmeasured.

    A variance holds everything between the difference and the true effect: the child's noise and
    the uncertainty of what it is centred on. `harm_beyond[k]` >= 0: that child, stopped or failed,
    is known only to be worse than its parent by more.
    """

    gains: Floats
    variances: Floats
    harm_beyond: Floats

    @classmethod
    def of(
        cls,
        gains: npt.ArrayLike,
        variances: npt.ArrayLike,
        harm_beyond: Iterable[float] = (),
    ) -> Observations:
        """Checked: finite, variances above 0. ValueError otherwise."""
        y = np.atleast_1d(np.asarray(gains, dtype=np.float64))
        v = np.broadcast_to(np.asarray(variances, dtype=np.float64), y.shape)
        bounds = np.asarray(list(harm_beyond), dtype=np.float64)
        if not (np.isfinite(y).all() and np.isfinite(v).all() and np.isfinite(bounds).all()):
            raise ValueError("gains, variances and bounds must be finite")
        if (v <= 0).any() or (bounds < 0).any():
            raise ValueError("variances must be above 0 and bounds not below")
        return cls(y, v, bounds)


def weak_prior(run_sd: float) -> Effects:
    """What is assumed before any child was measured: few gain, by about a run's sd; most do harm."""
    return Effects(nothing=0.4, gain=0.1, harm=0.5, gain_sd=run_sd, harm_sd=4 * run_sd)


def fit(seen: Observations, prior: Effects, rows: float = 10.0) -> Effects:
    """The most probable mixture, by EM; the prior weighs as much as `rows` children.

    Dirichlet(1 + rows x prior weight) on the weights and, on the variance of each part, the inverse
    gamma that its prior sd had been seen on `rows` x weight children (Gelman et al., Bayesian Data
    Analysis, 3.2; EM: Dempster, Laird and Rubin 1977). Fit all operators together first, then each
    with that fit as its prior: an operator with few children stays close to the rest.
    """
    base = np.array([prior.nothing, prior.gain, prior.harm])
    weights, sds = base.copy(), np.array([prior.gain_sd, prior.harm_sd])
    counts = rows * base
    for _ in range(ROUNDS):
        shares, squares = _expect(seen, weights, sds)
        new_weights = (shares + counts) / (shares.sum() + rows)
        pseudo = np.maximum(counts[1:], 1.0)
        old = np.array([prior.gain_sd, prior.harm_sd])
        new_sds = np.sqrt((squares + pseudo * old**2) / (shares[1:] + pseudo))
        moved = max(np.abs(new_weights - weights).max(), np.abs(new_sds / sds - 1).max())
        weights, sds = new_weights, new_sds
        if moved < TOLERANCE:
            break
    nothing, gain, harm = (float(one) for one in weights)
    return Effects(nothing, gain, harm, float(sds[0]), float(sds[1]))


def expected_gain(gains: npt.ArrayLike, variances: npt.ArrayLike, prior: Effects) -> Floats:
    """The mean of max(effect, 0): how probable a gain is, times its size (arrays broadcast)."""
    y, v = np.asarray(gains, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    shares, means, _ = _parts(y, v, prior)
    expected: Floats = shares[1] * means[1]
    return expected


def _parts(y: Floats, variance: Floats, prior: Effects) -> tuple[Floats, Floats, Floats]:
    """Share, mean and mean square of the effect in each part [nothing, gain, harm], each [3, ...].

    A half-normal effect seen through normal noise has a truncated normal posterior; its density is
    2 N(y; 0, s^2 + v) Phi(m / u) with m = y s^2 / (s^2 + v), u^2 = s^2 v / (s^2 + v) (Azzalini 1985).
    """
    from scipy.special import log_ndtr

    y, variance = np.broadcast_arrays(y, variance)
    with np.errstate(divide="ignore"):
        logs = np.log([prior.nothing, prior.gain, prior.harm])
    densities = [logs[0] - 0.5 * (np.log(variance) + y**2 / variance)]
    means, squares = [np.zeros_like(y)], [np.zeros_like(y)]
    for sign, sd, log_weight in ((1, prior.gain_sd, logs[1]), (-1, prior.harm_sd, logs[2])):
        total = variance + sd**2
        centre, spread = sign * y * sd**2 / total, sd * np.sqrt(variance / total)
        above = log_ndtr(centre / spread)
        density = np.log(2.0) - 0.5 * (np.log(total) + y**2 / total) + above
        densities.append(log_weight + density)
        mean = np.maximum(centre + spread * _hazard(centre / spread), 0.0)
        means.append(sign * mean)
        squares.append(np.maximum(spread**2 + centre * mean, mean**2))
    log_shares = np.stack(densities)
    shares = np.exp(log_shares - log_shares.max(axis=0))
    return shares / shares.sum(axis=0), np.stack(means), np.stack(squares)


def _expect(seen: Observations, weights: Floats, sds: Floats) -> tuple[Floats, Floats]:
    """Expected children in each part [3]; the sum of squared effects in gain and harm [2]."""
    now = Effects(*(float(one) for one in (*weights, *sds)))
    shares, _, squares = _parts(seen.gains, seen.variances, now)
    counts, sums = shares.sum(axis=1), (shares * squares).sum(axis=1)[1:]
    if len(seen.harm_beyond):  # only the harm part reaches beyond a bound above 0
        scaled = seen.harm_beyond / now.harm_sd
        counts[2] += len(scaled)
        sums[1] += float((now.harm_sd**2 * (1 + scaled * _hazard(-scaled))).sum())
    return counts, sums


def _hazard(z: Floats) -> Floats:
    """The normal density over its distribution function at z: about -z far below 0, where both vanish.

    By the scaled erfc, so that neither is computed: an objective without noise puts z at minus millions.
    """
    from scipy.special import erfcx

    ratio: Floats = math.sqrt(2 / math.pi) / erfcx(-z / math.sqrt(2))
    return ratio


# -- What a child is believed to be: its posterior, one at a time and in plain Python.
# What a running campaign believes must not depend on how many children it asks about at once, and what is
# computed on a whole array may differ in the last digit with its length.


ASYMPTOTIC_BELOW = -20.0  # from here on erfc would soon underflow
LOG_2 = math.log(2)
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
    means, squares = [0.0], [0.0]
    logs = [_log(prior.nothing) - 0.5 * (math.log(variance) + gain**2 / variance)]
    for sign, weight, sd in ((1, prior.gain, prior.gain_sd), (-1, prior.harm, prior.harm_sd)):
        total = variance + sd**2
        centre, spread = sign * gain * sd**2 / total, sd * math.sqrt(variance / total)
        z = centre / spread
        above = log_normal_share(z)
        hazard = math.exp(-0.5 * z * z - HALF_LOG_2PI - above)
        mean = max(centre + spread * hazard, 0.0)
        log_share = LOG_2 - 0.5 * (math.log(total) + gain**2 / total) + above
        logs.append(_log(weight) + log_share)
        means.append(sign * mean)
        squares.append(max(spread**2 + centre * mean, mean**2))
    largest = max(logs)
    _, gaining, harming = shares = [math.exp(one - largest) for one in logs]
    whole = sum(shares)
    mean = (gaining * means[1] + harming * means[2]) / whole
    square = (gaining * squares[1] + harming * squares[2]) / whole
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
