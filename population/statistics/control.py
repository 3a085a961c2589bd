"""What a block did to everyone, taken off by regression on what it did to the reference.

A control variate with an estimated coefficient (Law, Simulation Modeling and Analysis, 11.4;
Lavenberg and Welch 1981): coefficient 1 is a plain difference and adds the reference's own noise where
blocks move nobody; 0 leaves scores as they are. Which rule for small n decides best was settled by
simulation (`benchmarks/simulate_estimates.py`): the estimate, clipped to [0, 1], once it
is above 0 at one-sided 80 % with 3 degrees of freedom or more, and 0 before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

ByBlock = Mapping[int, float]

CONFIDENCE = 0.8
LEAST_FREEDOM = 3


@dataclass(frozen=True, slots=True)
class Control:
    """How much of the reference's block deviation to take off, and what that was estimated from.

    `coefficient` is what to use: 0 unless established. `slope`, `standard_error` are the regression's (NaN
    without variants on two blocks of the reference).
    """

    coefficient: float
    slope: float
    standard_error: float
    freedom: int


NO_CONTROL = Control(0.0, math.nan, math.nan, 0)


def control(reference: ByBlock, others: Iterable[ByBlock]) -> Control:
    """The coefficient from others' within-variant deviations on the reference's, pooled over variants.

    Least squares through 0 of the deviations from each variant's mean over the blocks it shares
    with the reference: degrees of freedom are sum (n - 1) less the slope's one.
    """
    pairs: list[tuple[float, float]] = []
    freedom = -1
    for scores in others:
        shared = [block for block in scores if block in reference]
        if len(shared) < 2:
            continue
        mine, its = fmean(scores[b] for b in shared), fmean(reference[b] for b in shared)
        pairs += [(reference[block] - its, scores[block] - mine) for block in shared]
        freedom += len(shared) - 1
    squares = sum(x * x for x, _ in pairs)
    if freedom < 1 or squares == 0:
        return NO_CONTROL
    slope = sum(x * y for x, y in pairs) / squares
    left = sum((y - slope * x) ** 2 for x, y in pairs)
    error = math.sqrt(left / freedom / squares)
    established = freedom >= LEAST_FREEDOM and slope > _quantile(freedom) * error
    return Control(min(max(slope, 0.0), 1.0) if established else 0.0, slope, error, freedom)


def without_block_effects(
    scores: ByBlock, reference: ByBlock, coefficient: float
) -> dict[int, float]:
    """Scores less the coefficient times what each block did to the reference, where that is known."""
    if not coefficient or not reference:
        return dict(scores)
    centre = fmean(reference.values())
    return {
        block: score - coefficient * (reference[block] - centre) if block in reference else score
        for block, score in scores.items()
    }


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, CONFIDENCE))
