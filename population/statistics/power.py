"""What a certification rule can do, by simulating the very rule in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from population.statistics.certification import Floats, Rule, futile_path, log_e_path

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
