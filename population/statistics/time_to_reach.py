"""The headline: what share of the seed's budget a graduate needs to reach the seed's final score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from population.statistics.distributions import CONFIDENCE, t_quantile

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
