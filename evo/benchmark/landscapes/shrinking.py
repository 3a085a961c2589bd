"""The seed sd of every cell of a table: two or three seeds say little, cells alike say the rest."""

from __future__ import annotations

import numpy as np
from scipy.special import polygamma

BINS = 40  # cells with about the same mean share a prior: what learns nothing varies otherwise
MAX_PRIOR = 1e4  # degrees of freedom beyond which cells of a bin do not differ


def shrunken_sd(draws: np.ndarray) -> np.ndarray:
    """The sd of one run by cell, [settings], from draws [settings, seeds] with NaN where there is none.

    Moderated variances after Smyth 2004 (Statistical Applications in Genetics 3:1), the prior's mean
    taken within `BINS` bins of cells with like means. Cells of one seed get the prior alone.
    """
    counts = np.sum(~np.isnan(draws), axis=1)
    free = np.maximum(counts - 1, 0).astype(float)
    means = np.nanmean(draws, axis=1)
    squares = np.nansum((draws - means[:, None]) ** 2, axis=1)
    ranks = np.argsort(np.argsort(means, kind="stable"))
    bins = ranks * BINS // len(means)
    pooled = np.bincount(bins, squares, BINS) / np.maximum(np.bincount(bins, free, BINS), 1.0)
    prior = pooled[bins]
    weight = prior_freedom(squares, free, prior)
    shrunken: np.ndarray = np.sqrt((weight * prior + squares) / (weight + free))
    return shrunken


def prior_freedom(squares: np.ndarray, free: np.ndarray, prior: np.ndarray) -> float:
    """How many degrees of freedom the prior counts for: by the spread of log variances."""
    usable = (free > 0) & (squares > 0) & (prior > 0)
    if usable.sum() < 3:
        return MAX_PRIOR
    logs = np.log(squares[usable] / free[usable] / prior[usable])
    excess = np.var(logs, ddof=1) - np.mean(polygamma(1, free[usable] / 2))
    return 2 * _inverse_trigamma(float(excess)) if excess > 0 else MAX_PRIOR


def _inverse_trigamma(value: float) -> float:
    """Newton's steps on 1 / trigamma, which is nearly a straight line (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        slope = float(polygamma(1, x))
        step = slope * (1 - slope / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-9 * x:
            break
    return min(x, MAX_PRIOR / 2)
