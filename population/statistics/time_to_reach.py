"""The headline: what share of the seed's budget a graduate needs to reach the seed's final score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 2000

Runs = Mapping[int, Mapping[float, float]]  # block -> budget (share of the seed's) -> score


@dataclass(frozen=True, slots=True)
class TimeToReach:
    """Budget shares. None for `value`, `low` or `high` says "not reached within the budgets tried".

    A bound equal to `least` is "that or less": the smallest budget tried already sufficed. `reached` is the
    share of bootstrap draws that reached the seed's score.
    """

    value: float | None
    low: float | None
    high: float | None
    least: float
    most: float
    reached: float
    blocks: int


def time_to_reach(
    graduate: Runs,
    seed_final: Mapping[int, float],
    rng: np.random.Generator,
    draws: int = DRAWS,
    confidence: float = CONFIDENCE,
) -> TimeToReach | None:
    """Score against log(budget), inverted at the seed's final score; less is better.

    Each budget is a run with its own full schedule. Means over the blocks on which every budget and
    the seed were run, straight lines between budgets, the first crossing counts. The interval
    resamples whole blocks; draws that never cross are censored at the top, nothing is extrapolated.
    None below 3 such blocks or below 2 budgets.
    """
    budgets = sorted({budget for scores in graduate.values() for budget in scores})
    blocks = [b for b in seed_final if b in graduate and set(graduate[b]) == set(budgets)]
    if len(blocks) < 3 or len(budgets) < 2:
        return None
    # above 0: worse than the seed's end on the same block
    gaps = np.array([[graduate[b][x] - seed_final[b] for x in budgets] for b in blocks])
    chosen = rng.integers(0, len(blocks), (draws, len(blocks)))
    shares = _crossings(gaps[chosen].mean(axis=1), np.log(budgets))
    tail = (1 - confidence) / 2
    low, high = np.quantile(shares, [tail, 1 - tail], method="inverted_cdf")
    value = float(_crossings(gaps.mean(axis=0)[None], np.log(budgets))[0])
    return TimeToReach(
        value=_or_none(value),
        low=_or_none(float(low)),
        high=_or_none(float(high)),
        least=budgets[0],
        most=budgets[-1],
        reached=float(np.isfinite(shares).mean()),
        blocks=len(blocks),
    )


def _crossings(gaps: Floats, log_budgets: Floats) -> Floats:
    """The first budget [draws] at which the line through gaps [draws, budgets] is at 0; inf without one."""
    below = gaps <= 0
    at = below.argmax(axis=1)
    rows = np.arange(len(gaps))
    before = np.maximum(at - 1, 0)
    high, low = gaps[rows, before], gaps[rows, at]
    fall = np.where(high > low, high - low, 1.0)
    part = np.where(at > 0, np.clip(high / fall, 0.0, 1.0), 1.0)
    where = log_budgets[before] + part * (log_budgets[at] - log_budgets[before])
    exact = np.where(at > 0, np.exp(where), np.exp(log_budgets[0]))
    return np.where(below.any(axis=1), exact, np.inf)


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
