"""Student's t for whole degrees of freedom, so that reading a campaign needs no statistics library."""

from __future__ import annotations

import math


def central_probability(t: float, freedom: int) -> float:
    """P(|T| <= t) at `freedom` >= 1. Abramowitz and Stegun (1964), 26.7.3 and 26.7.4: finite sums."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    if freedom % 2:
        term, total = math.cos(angle), 0.0
        for step in range(3, freedom + 1, 2):
            total += term
            term *= square * (step - 1) / step
        return 2 / math.pi * (angle + sine * total)
    term, total = 1.0, 0.0
    for step in range(2, freedom + 1, 2):
        total += term
        term *= square * (step - 1) / step
    return sine * total


def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(|T| <= t) = confidence, to about twelve digits. ValueError outside 0 < c < 1."""
    if not 0 < confidence < 1 or freedom < 1:
        raise ValueError(f"no t for confidence {confidence} with {freedom} degrees of freedom")
    low, high = 0.0, 1.0
    while central_probability(high, freedom) < confidence:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if central_probability(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2
