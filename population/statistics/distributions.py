"""The F and Student's t distribution, in plain Python: reading a campaign needs no statistics library."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

CONFIDENCE = 0.95
HALVINGS = 60  # of an interval: to the last digit
TERMS = 60  # of a continued fraction: many more than it takes where it is used


def f_probability(ratio: float, above: float, below: float) -> float:
    """P(F <= ratio) with these degrees of freedom."""
    return _beta_ratio(above * ratio / (above * ratio + below), above / 2, below / 2)


@cache
def f_quantile(probability: float, above: float, below: float) -> float:
    """The ratio with P(F <= ratio) = probability. ValueError outside 0 < probability < 1 or without freedom."""
    _check(probability, above, below)
    return _root(lambda ratio: f_probability(ratio, above, below), probability)


@cache
def t_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """The t with P(|T| <= t) = confidence: t^2 is an F with 1 and `freedom` degrees.

    ValueError outside 0 < confidence < 1 or without freedom.
    """
    _check(confidence, freedom)
    return _root(lambda t: f_probability(t * t, 1, freedom), confidence)


def _check(probability: float, *freedoms: float) -> None:
    if not 0 < probability < 1 or not all(one > 0 for one in freedoms):
        told = " and ".join(f"{one:g}" for one in freedoms)
        raise ValueError(f"no quantile at {probability} with {told} degrees of freedom")


def _root(rising: Callable[[float], float], wanted: float) -> float:
    """Where a function that rises from 0 reaches `wanted`, by bisection."""
    low, high = 0.0, 1.0
    while rising(high) < wanted:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta_ratio(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta_ratio(1 - x, b, a)
    if x <= 0:
        return 0.0
    tail = 0.0
    for m in range(TERMS, -1, -1):
        tail = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)) / (1 + tail)
        if m:
            tail = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)) / (1 + tail)
    log_front = a * math.log(x) + b * math.log1p(-x) - math.log(a)
    return math.exp(log_front + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / (1 + tail)
