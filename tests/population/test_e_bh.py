"""e-BH: the textbook example, and the false discovery rate under dependence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from population.statistics.certification import e_bh


def test_a_claim_that_fails_alone_is_carried_by_the_others() -> None:
    logs = {"a": math.log(25), "b": math.log(16), "c": math.log(13), "d": 0.0}  # need 40 20 13.3 10
    assert e_bh(logs, alpha=0.1) == set()
    assert e_bh(logs | {"a": math.log(41)}, alpha=0.1) == {"a"}
    assert e_bh(logs | {"c": math.log(14)}, alpha=0.1) == {"a", "b", "c"}
    assert e_bh(logs | {"a": math.log(41), "c": math.log(14)}, alpha=0.1) == {"a", "b", "c"}
    assert e_bh({}) == frozenset()


def test_what_is_not_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a number"):
        e_bh({"a": math.nan})


def test_the_false_discovery_rate_holds_though_all_share_one_control() -> None:
    rng = np.random.default_rng(1)
    rates = []
    for _ in range(3000):
        shared = rng.normal()  # one unlucky champion flatters every challenger
        truth = np.array([0.0] * 8 + [4.0] * 2)
        z = truth + 0.8 * shared + 0.6 * rng.normal(size=10)
        logs = {str(k): float(3 * z[k] - 4.5) for k in range(10)}
        found = e_bh(logs, alpha=0.1)
        rates.append(sum(int(k) < 8 for k in found) / max(len(found), 1))
    assert np.mean(rates) < 0.1
