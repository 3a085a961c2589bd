"""The portfolio draws operators by weight among those that can go."""

from __future__ import annotations

import numpy as np
import pytest

from operators.operator import Kin
from operators.portfolio import Portfolio
from operators.registry import build_operators

WEIGHTS = {"nudge": 3.0, "merge": 1.0}


def test_operators_come_as_often_as_they_weigh() -> None:
    portfolio, rng = Portfolio(build_operators(WEIGHTS), WEIGHTS), np.random.default_rng(0)
    names = [getattr(portfolio.choose(rng), "name", "") for _ in range(1000)]
    assert 0.7 < names.count("nudge") / 1000 < 0.8
    assert set(names) == {"nudge", "merge"}


def test_an_operator_without_parents_is_passed_over() -> None:
    portfolio, rng = Portfolio(build_operators(WEIGHTS), WEIGHTS), np.random.default_rng(0)
    chosen = portfolio.choose(rng, lambda operator: operator.kin is Kin.PAIR)
    assert chosen is not None and chosen.name == "merge"
    assert portfolio.choose(rng, lambda operator: False) is None


def test_no_operators_or_a_negative_weight_is_refused() -> None:
    for weights in ({}, {"nudge": -1.0}, {"nudge": float("nan")}):
        with pytest.raises(ValueError, match="a portfolio needs"):
            Portfolio(build_operators(dict.fromkeys(weights, 1.0)), weights)
