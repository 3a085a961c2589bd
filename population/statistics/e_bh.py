"""Which of several claims to call proven, at a stated false discovery rate, from their e-values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


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
