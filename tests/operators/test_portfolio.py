"""The portfolio: by weight at first, by gain per cost once there is something to learn from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from operators.operator import Draft, ParentRule, Request
from operators.portfolio import (
    Arm,
    Mode,
    OperatorChoice,
    Portfolio,
    PortfolioSettings,
    Reward,
    posteriors,
)
from operators.registry import build_operators

WEIGHTS = {"nudge": 3.0, "merge": 1.0}
FIXED = PortfolioSettings(mode=Mode.FIXED)
LLM = {"mutate": 1.0, "rewrite": 1.0}
MODELS = {"a": 1.0, "b": 1.0}


@dataclass
class FakeAsking:
    """An operator that may be sent to models."""

    name: str
    ready: tuple[str, ...] = ("a", "b")
    parent_rule: ParentRule = ParentRule.ONE

    def propose(self, request: Request) -> Draft:
        raise NotImplementedError

    def is_unavailable(self) -> bool:
        return not self.ready

    def endpoints(self) -> tuple[str, ...]:
        return self.ready


def learning(ready: tuple[str, ...] = ("a", "b"), explore: float = 0.1) -> Portfolio:
    operators = [FakeAsking(name, ready) for name in LLM] + list(build_operators({"nudge": 1}))
    weights = {**LLM, "nudge": 1.0}
    return Portfolio(operators, weights, endpoints=MODELS, explored_share=explore)


def names(portfolio: Portfolio, rewards: Sequence[Reward] = (), draws: int = 400) -> Counter[Arm]:
    rng = np.random.default_rng(0)
    chosen = [portfolio.choose(rng, rewards=rewards) for _ in range(draws)]
    return Counter(Arm(one.operator.name, one.endpoint) for one in chosen if one is not None)


def test_fixed_operators_come_as_often_as_they_weigh() -> None:
    counts = names(Portfolio(build_operators(WEIGHTS), WEIGHTS, FIXED), draws=1000)
    assert 0.7 < counts[Arm("nudge")] / 1000 < 0.8
    assert set(counts) == {Arm("nudge"), Arm("merge")}


@pytest.mark.parametrize("settings", [FIXED, None])
def test_an_operator_without_parents_is_passed_over(settings: PortfolioSettings | None) -> None:
    portfolio = Portfolio(build_operators(WEIGHTS), WEIGHTS, settings)
    rng = np.random.default_rng(0)
    chosen = portfolio.choose(rng, lambda operator: operator.parent_rule is ParentRule.PAIR)
    assert isinstance(chosen, OperatorChoice) and chosen.operator.name == "merge"
    assert portfolio.choose(rng, lambda operator: False) is None


def test_no_operators_or_a_negative_weight_is_refused() -> None:
    for weights in ({}, {"nudge": -1.0}, {"nudge": float("nan")}):
        with pytest.raises(ValueError, match="a portfolio needs"):
            Portfolio(build_operators(dict.fromkeys(weights, 1.0)), weights)


def test_before_anything_is_known_the_weights_are_what_is_expected() -> None:
    portfolio = Portfolio(build_operators(WEIGHTS), WEIGHTS)
    counts = names(portfolio)
    assert counts[Arm("nudge")] > 1.5 * counts[Arm("merge")] > 0
    shape, runs = posteriors([Arm("nudge"), Arm("merge")], np.array([3.0, 1.0]), [], 50)
    assert (shape / runs)[0] == pytest.approx(3 * (shape / runs)[1])


def test_the_arm_that_gained_more_for_its_cost_goes_more_often() -> None:
    rewards = [
        Reward(Arm("mutate", model), gain, 1.0) for model, gain in (("a", 1.0), ("b", 0.0))
    ] * 10
    counts = names(learning(), rewards)
    assert counts[Arm("mutate", "a")] > 3 * counts[Arm("mutate", "b")]
    assert counts[Arm("rewrite", "a")] > counts[Arm("rewrite", "b")], "a model's merit carries over"
    assert min(counts[arm] for arm in (Arm("mutate", "b"), Arm("nudge"))) > 0, "nobody is given up"


def test_the_same_gain_for_three_times_the_cost_earns_less() -> None:
    rewards = [
        Reward(Arm("mutate", model), 1.0, cost) for model, cost in (("a", 1.0), ("b", 3.0))
    ] * 10
    counts = names(learning(), rewards)
    assert counts[Arm("mutate", "a")] > 2 * counts[Arm("mutate", "b")]


def test_what_is_not_measured_yet_says_nothing() -> None:
    waiting = [Reward(Arm("mutate", "a"), math.nan, 0.1)] * 30
    arms, weights = [Arm("mutate", "a"), Arm("nudge")], np.ones(2)
    with_them, without = posteriors(arms, weights, waiting, 50), posteriors(arms, weights, [], 50)
    assert np.allclose(with_them, without)


def test_old_merit_fades() -> None:
    arms, weights = [Arm("nudge"), Arm("merge")], np.ones(2)
    once = [Reward(Arm("nudge"), 1.0, 1.0)] * 10
    later = [Reward(Arm("merge"), 0.3, 1.0)] * 200
    shape, runs = posteriors(arms, weights, once + later, 25)
    assert (shape / runs)[0] < (shape / runs)[1]


def test_the_unit_of_the_metric_does_not_matter() -> None:
    arms, weights = [Arm("nudge"), Arm("merge")], np.ones(2)
    gains = np.random.default_rng(0).exponential(1, 20)
    for unit in (1e-4, 1e4):
        rewards = [Reward(arms[at % 2], unit * gain, 1.0) for at, gain in enumerate(gains)]
        shape, runs = posteriors(arms, weights, rewards, 50)
        assert (shape / runs).sum() == pytest.approx(
            np.divide(
                *posteriors(arms, weights, [Reward(p.arm, p.gain / unit, 1.0) for p in rewards], 50)
            ).sum()
        )


@pytest.mark.parametrize("gain", [5e-324, 1e-200, 1e200])
def test_a_gain_whose_square_is_no_number_is_still_one_typical_gain(gain: float) -> None:
    arms = [Arm("mutate", "a"), Arm("mutate", "b")]
    rewards = [Reward(arms[0], gain, 1.0), Reward(arms[1], 0.0, 1.0)]
    shapes, _ = posteriors(arms, np.ones(2), rewards, 40.0)
    expected, _ = posteriors(arms, np.ones(2), [Reward(arms[0], 1.0, 1.0), rewards[1]], 40.0)
    assert shapes.tolist() == pytest.approx(expected.tolist())


def test_a_model_that_rests_is_not_chosen() -> None:
    assert {arm.endpoint for arm in names(learning(ready=("b",)))} == {"b", ""}
    resting = learning(ready=())
    assert not resting.is_unavailable() and set(names(resting)) == {Arm("nudge")}


def test_a_control_keeps_its_share_whatever_it_earns() -> None:
    weights = {"nudge": 3.0, "merge": 1.0}
    portfolio = Portfolio(build_operators(weights), weights, controls=["merge"])
    rewards = [Reward(Arm("merge"), 1.0, 1.0), Reward(Arm("nudge"), 0.0, 1.0)] * 20
    assert 60 < names(portfolio, rewards)[Arm("merge")] < 140  # of 400
