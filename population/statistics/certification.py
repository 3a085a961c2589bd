"""Certification: a t e-process on paired block differences, stopped when it is proof or hopeless.

Differences are champion minus challenger in the direction that is better: above 0 the challenger
won that block. The null is "it gains no more than `min_gain`".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EFFECT_PRECISION = 0.25  # the effect prior is half-normal with sd 1 / sqrt(0.25) = 2 pair sds
HIGHEST_CORRELATION = 1 - 1e-12  # keeps the e-value finite whatever the number of pairs


class Verdict(StrEnum):
    """Where one attempt stands."""

    OPEN = "open"
    CERTIFIED = "certified"
    FUTILE = "futile"
    EXHAUSTED = "exhausted"  # every allowed pair is spent and it is not proven


@dataclass(frozen=True, slots=True)
class Rule:
    """The procedure in force, fixed when an attempt starts; `min_gain`, `sd_floor` in the metric's unit.

    `alpha` is spent evenly over the `attempts` the budget allows. ValueError when out of range.
    """

    attempts: int
    min_gain: float = 0.0
    sd_floor: float = 0.0
    alpha: float = 0.1
    most_pairs: int = 16
    least_pairs: int = 4  # no attempt is given up before
    hope: float = 1.5  # futile: not even with this many standard errors of luck in its favour

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.most_pairs < 1 or not 0 < self.alpha < 1:
            raise ValueError("needs attempts and most_pairs >= 1 and 0 < alpha < 1")
        if self.min_gain < 0 or self.sd_floor < 0:
            raise ValueError("min_gain and sd_floor are not negative")

    @property
    def log_threshold(self) -> float:
        """The log e-value that proves: attempts / alpha (Ville; union over the attempts)."""
        return float(np.log(self.attempts / self.alpha))

    @property
    def can_certify(self) -> bool:
        """Whether the largest e-value that `most_pairs` can give reaches the threshold."""
        pairs = np.asarray(float(self.most_pairs))
        return bool(log_e_from_sums(pairs, pairs, pairs) >= self.log_threshold)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the pairs so far say. `log_e` and `verdict` are as of pair number `pairs`, the deciding one."""

    pairs: int
    log_e: float
    verdict: Verdict


def log_e_from_sums(total: npt.ArrayLike, squares: npt.ArrayLike, pairs: npt.ArrayLike) -> Floats:
    """Log e-values from sum d, sum d^2 and n (broadcast): one-sided t-test, right-Haar prior on sd.

    With delta = mean / sd ~ half-normal(precision c) and d(sd)/sd the integral has a closed form:
    e = 2 sqrt(c / (n + c)) (1 - r^2)^(-n/2) F(r sqrt(n / (1 - r^2))), r = S / sqrt((n + c) V), F the
    distribution function of Student's t with n degrees. Without F and the 2 it is the two-sided one
    of Wang and Ramdas 2025 (Anytime-valid t-tests, Sequential Analysis 44); validity at any
    stopping time: Perez-Ortiz, Lardy, de Heide and Gruenwald 2024 (Annals of Statistics 52:1410).
    """
    from scipy.special import stdtr

    s, v, n = (np.asarray(one, dtype=np.float64) for one in (total, squares, pairs))
    c = EFFECT_PRECISION
    known = v > 0
    # S / sqrt((n + c) V) without overflow or underflow: both sums are first divided by sqrt(V)
    ratio = s / np.where(known, np.sqrt(v), 1.0) / np.sqrt(n + c)
    ratio = np.clip(ratio, -HIGHEST_CORRELATION, HIGHEST_CORRELATION)
    rest = (1 - ratio) * (1 + ratio)
    side = np.maximum(stdtr(n, ratio * np.sqrt(n / rest)), np.finfo(float).tiny)
    log_e = np.log(2.0) + 0.5 * np.log(c / (n + c)) - 0.5 * n * np.log(rest) + np.log(side)
    return np.asarray(np.where(known, log_e, 0.0))


def log_e_path(differences: npt.ArrayLike, rule: Rule) -> Floats:
    """Log e-value after each pair along the last axis, always finite; 0 while every difference is 0.

    The sd of these pairs is used, never a pooled one, but at least `sd_floor`: sum d^2 is raised to
    what that sd would have made it. That only lowers an e-value above 1. The scale of the numbers
    does not matter; differences of 1e150 and 1e-150 are both fine.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(d).all():
        raise ValueError("differences must be finite")
    shifted, floor = _in_one_unit(d - rule.min_gain, rule.sd_floor)
    total, squares, n = _running_sums(shifted, floor)
    moved = np.logical_or.accumulate(d != 0, axis=-1)
    return np.where(moved, log_e_from_sums(total, squares, n), 0.0)


def futile_path(differences: npt.ArrayLike, rule: Rule) -> npt.NDArray[np.bool_]:
    """After each pair: could `most_pairs` still prove it if luck helped by `hope` standard errors?

    The mean is raised by that much, the sd kept, and the e-value at the last pair projected
    (stochastic curtailment, Lan, Simon and Halperin 1982). Giving up early can only lower type I.
    """
    d = np.asarray(differences, dtype=np.float64)
    shifted, floor = _in_one_unit(d - rule.min_gain, rule.sd_floor)
    total, squares, n = _running_sums(shifted, floor)
    mean, variance = total / n, (squares - total**2 / n) / np.maximum(n - 1, 1)
    sd = np.sqrt(np.maximum(variance, 0.0))
    end = float(rule.most_pairs)
    hoped = mean + rule.hope * sd / np.sqrt(n)
    projected = log_e_from_sums(end * hoped, end * hoped**2 + (end - 1) * sd**2, end)
    return np.asarray((projected < rule.log_threshold) & (n >= rule.least_pairs))


def decide(differences: Sequence[float], rule: Rule) -> Attempt:
    """Where an attempt stands after these pairs, in their order; the first verdict reached holds."""
    if not differences:
        return Attempt(0, 0.0, Verdict.OPEN)
    d = np.asarray(differences[: rule.most_pairs], dtype=np.float64)
    log_e, futile = log_e_path(d, rule), futile_path(d, rule)
    for k in range(len(d)):
        if log_e[k] >= rule.log_threshold:
            return Attempt(k + 1, float(log_e[k]), Verdict.CERTIFIED)
        if k + 1 == rule.most_pairs:
            return Attempt(k + 1, float(log_e[k]), Verdict.EXHAUSTED)
        if futile[k]:
            return Attempt(k + 1, float(log_e[k]), Verdict.FUTILE)
    return Attempt(len(d), float(log_e[-1]), Verdict.OPEN)


def _in_one_unit(values: Floats, floor: float) -> tuple[Floats, float]:
    """Values and floor over a power of 2 near the largest: squares stay in range, no digit changes."""
    unit = max(float(np.abs(values).max(initial=0.0)), floor)
    power = int(np.frexp(unit)[1])
    return np.ldexp(values, -power), float(np.ldexp(floor, -power))


def _running_sums(values: Floats, floor: float) -> tuple[Floats, Floats, Floats]:
    """Running sum, sum of squares (with the sd raised to `floor`) and count along the last axis."""
    total, squares = values.cumsum(axis=-1), (values**2).cumsum(axis=-1)
    n = np.arange(1.0, values.shape[-1] + 1)
    least = total**2 / n + (n - 1) * floor**2
    return total, np.maximum(squares, least), n


# -- What a certification rule can do, by simulating the very rule in force.


LARGEST_EFFECT = 20.0  # pair sds; a gain that takes more is "impossible"

# mean 0, sd 1, [attempts, pairs]; the generator in quotes, since naming it would load them all
Noise = Callable[["np.random.Generator", tuple[int, int]], Floats]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Simulated attempts at one true gain: share certified, its standard error, pairs spent on average.

    `published_gain` is the mean of the deciding pairs of certified attempts: it is too high, which is why
    only runs made after the decision are published.
    """

    certified: float
    standard_error: float
    pairs: float
    pairs_when_certified: float
    published_gain: float


@dataclass(frozen=True, slots=True)
class Smallest:
    """The smallest gain that is certified with `power`, in the metric's unit, and the pairs it costs."""

    gain: float
    power: float
    pairs: float


def normal_noise(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Independent normal noise."""
    return rng.normal(size=shape)


def simulate(
    rule: Rule,
    gain: float,
    pair_sd: float,
    rng: np.random.Generator,
    attempts: int = 4000,
    noise: Noise = normal_noise,
) -> Outcomes:
    """Many attempts by a challenger that is truly better by `gain`, pair differences of sd `pair_sd`."""
    made = noise(rng, (attempts, rule.most_pairs))
    return _outcomes(rule, gain + pair_sd * made)


def smallest_gain(
    rule: Rule,
    pair_sd: float,
    rng: np.random.Generator,
    power: float = 0.8,
    attempts: int = 2000,
    noise: Noise = normal_noise,
) -> Smallest | None:
    """The smallest gain certified with this power; None: impossible with these pairs and attempts.

    Bisection on one fixed set of noise draws (common random numbers), to 1 % of a pair sd.
    """
    made = pair_sd * noise(rng, (attempts, rule.most_pairs))
    low, high = rule.min_gain, rule.min_gain + LARGEST_EFFECT * pair_sd
    if not rule.can_certify or _outcomes(rule, high + made).certified < power:
        return None
    while high - low > 0.01 * pair_sd:
        middle = (low + high) / 2
        if _outcomes(rule, middle + made).certified >= power:
            high = middle
        else:
            low = middle
    found = _outcomes(rule, high + made)
    return Smallest(high, found.certified, found.pairs_when_certified)


def ends(rule: Rule, differences: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where each attempt [attempts, pairs] ends (index of its last pair), and whether it is certified there.

    What `decide` finds one by one; an attempt that reaches no verdict ends at the last pair given.
    """
    proven = log_e_path(differences, rule) >= rule.log_threshold
    given_up = futile_path(differences, rule) & ~proven
    given_up[:, -1] = True
    stop = (proven | given_up).argmax(axis=1)
    return stop, proven[np.arange(len(differences)), stop]


def _outcomes(rule: Rule, differences: Floats) -> Outcomes:
    attempts, most = differences.shape
    stop, certified = ends(rule, differences)
    share = float(certified.mean())
    means = differences.cumsum(axis=1)[np.arange(attempts), stop] / (stop + 1)
    return Outcomes(
        certified=share,
        standard_error=float(np.sqrt(share * (1 - share) / attempts)),
        pairs=float(stop.mean() + 1),
        pairs_when_certified=float(stop[certified].mean() + 1) if certified.any() else float(most),
        published_gain=float(means[certified].mean()) if certified.any() else 0.0,
    )


# -- Which of several claims to call proven, at a stated false discovery rate, from their e-values.


def e_bh(log_e: Mapping[str, float], alpha: float = 0.1) -> frozenset[str]:
    """The claims proven by the e-BH procedure: the k largest e-values, k the most with e_(k) >= m / (alpha k).

    The expected share of false ones among them is at most alpha, whatever the dependence between the
    e-values (Wang and Ramdas 2022, False discovery rate control with e-values, JRSS B 84:822).
    ValueError when a log e-value is not a number.
    """
    if any(np.isnan(value) for value in log_e.values()):
        raise ValueError("an e-value is not a number")
    order = sorted(log_e, key=lambda claim: (-log_e[claim], claim))
    needed = np.log(len(order) / alpha / np.arange(1, len(order) + 1)) if order else np.empty(0)
    passed = [k for k, claim in enumerate(order) if log_e[claim] >= needed[k]]
    return frozenset(order[: passed[-1] + 1]) if passed else frozenset()
