"""Which operator goes next, and which model it asks: by what each earned for what it cost.

An arm is an operator with an endpoint (or alone, when it asks no model). What it earned is read from the
rows each time - a later measurement of a child or of its parent changes a past gain - so that there is no
state to resume. Thompson sampling (Thompson 1933) on the gain per run:

    rate ~ Gamma(SURE (prior_runs x prior_rate + S), SURE (prior_runs + C))

S: the arm's gains in units of a typical gain, C: its costs in runs, both discounted by age. A typical gain is
sum(g^2) / sum(g): it gives S the mean and the variance of a compound Poisson sum. The prior rate of an arm is
what others earn, in proportion to the weights of the campaign file and to what its operator earns
with other models and its model in other operators.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from operators.operator import AsksModels, MayBeUnavailable, Operator

Floats = npt.NDArray[np.float64]

FIRST_RATE = 0.1  # typical gains a run, before anything was measured
RATE_RUNS = 2.0  # what that assumption weighs, in runs
MATES_RUNS = 3.0  # what the file's weights weigh beside the other arms of an operator or a model
SURE = 3.0  # times the rows count when drawing: a campaign is too short for plain Thompson sampling
PRIOR_RUNS = 2.0  # what an arm's prior weighs beside its own rows
HALF_LIFE = 40.0  # proposals until what an operator earned weighs half
MAX_PROPOSALS = math.ceil(6 * HALF_LIFE)  # that count at all; what is older weighs less than 2 %
EXPLORED_SHARE = 0.15  # of the proposals, drawn evenly whatever was earned
RUN_DOLLARS = 0.01  # what a run of the proxy is worth: puts the price of models beside it


class Mode(StrEnum):
    """How operators are chosen."""

    LEARN = "learn"
    FIXED = "fixed"


class PortfolioSettings(BaseModel):
    """How the portfolio learns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Field(default=Mode.LEARN, description="learn: by gain per cost")


@dataclass(frozen=True, slots=True)
class Arm:
    """An operator, and the model it asks; "" for one that asks none or draws for itself."""

    operator: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Reward:
    """The outcome of one proposal, as known now.

    `gain`: the expected gain over its best parent, losses counted as 0; NaN while it is not measured.
    `cost`: what it took, in runs.
    """

    arm: Arm
    gain: float
    cost: float


@dataclass(frozen=True, slots=True)
class OperatorChoice:
    """Who goes next."""

    operator: Operator
    endpoint: str = ""


class Portfolio:
    """Chooses among operators and the endpoints they may ask; the `weights` of operators are priors, or shares.

    `controls`: operators whose children cannot gain; they keep the share that their weight gives them.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        weights: Mapping[str, float],
        settings: PortfolioSettings | None = None,
        endpoints: Collection[str] = (),
        controls: Collection[str] = (),
        explored_share: float = EXPLORED_SHARE,
    ) -> None:
        self.operators = tuple(operators)
        self.weights = {one.name: float(weights[one.name]) for one in self.operators}
        self.controls, self._explored_share = frozenset(controls), explored_share
        self.settings, self.endpoints = settings or PortfolioSettings(), tuple(endpoints)
        if not self.operators or any(not weight >= 0 for weight in self.weights.values()):
            raise ValueError("a portfolio needs operators, and weights of at least 0")

    def choose(
        self,
        rng: np.random.Generator,
        can: Callable[[Operator], bool] = lambda operator: True,
        rewards: Sequence[Reward] = (),
    ) -> OperatorChoice | None:
        """Who goes next, among those that can go now (their parents exist); None when none can.

        `rewards`: of the proposals so far, oldest first.
        """
        able = [one for one in self._awake() if can(one)]
        if not able:
            return None
        shares = np.array([self.weights[one.name] for one in able])
        drawn = able[int(rng.choice(len(able), p=shares / shares.sum()))]
        if self.settings.mode is Mode.FIXED or drawn.name in self.controls:
            return OperatorChoice(drawn)
        learning = [one for one in able if one.name not in self.controls]
        choices = [
            OperatorChoice(one, endpoint) for one in learning for endpoint in self._endpoints(one)
        ]
        arms = [Arm(one.operator.name, one.endpoint) for one in choices]
        priors = np.array([self._weight(arm, arms) for arm in arms])
        if rng.random() < self._explored_share:
            return choices[int(rng.integers(len(choices)))]
        shape, runs = posteriors(arms, priors, rewards)
        return choices[int(np.argmax(rng.gamma(shape) / runs))]

    def is_unavailable(self, among: Callable[[Operator], bool] = lambda operator: True) -> bool:
        """Whether every one of these operators waits for its model."""
        return not any(map(among, self._awake()))

    def _awake(self) -> list[Operator]:
        wanted = [one for one in self.operators if self.weights[one.name] > 0]
        return [
            one
            for one in wanted
            if not (isinstance(one, MayBeUnavailable) and one.is_unavailable())
        ]

    def _endpoints(self, operator: Operator) -> tuple[str, ...]:
        """The endpoints an operator may be sent to; one that asks none goes as it is."""
        ready = operator.endpoints() if isinstance(operator, AsksModels) else ()
        return tuple(one for one in ready if one in self.endpoints) or ("",)

    def _weight(self, arm: Arm, arms: Sequence[Arm]) -> float:
        """The file's weight of an arm: its operator's, shared out among the models it may ask."""
        weight = self.weights[arm.operator]
        mates = [one.endpoint for one in arms if one.operator == arm.operator and one.endpoint]
        if arm.endpoint:
            weight /= len(mates)
        return weight


@dataclass(frozen=True, slots=True)
class Sums:
    """Discounted gains, in typical gains, and costs in runs."""

    gains: float = 0.0
    costs: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(self.gains + other.gains, self.costs + other.costs)

    def rate(self, prior: float, runs: float) -> float:
        """Gains a run, with a prior that weighs as much as N runs."""
        return (runs * prior + self.gains) / (runs + self.costs)


def posteriors(
    arms: Sequence[Arm], weights: Floats, rewards: Sequence[Reward], half_life: float = HALF_LIFE
) -> tuple[Floats, Floats]:
    """Shape and rate (in runs) of each arm's gamma posterior of typical gains a run, [arms] each."""
    known = _sums(rewards, half_life)
    number = Counter(arm.operator for arm in arms)  # an operator's weight is shared by its models
    mean = float(weights.sum()) / len(number)
    overall = _mean_rate(known.values())
    shapes, runs = [], []
    for arm, weight in zip(arms, weights, strict=True):
        prior = overall * float(weight) * number[arm.operator] / mean
        prior = _together(
            one for other, one in known.items() if other != arm and other.operator == arm.operator
        ).rate(prior, MATES_RUNS)
        if arm.endpoint:
            prior *= _endpoint_factor(arm, known)
        own = known.get(arm, Sums())
        shapes.append(SURE * (PRIOR_RUNS * prior + own.gains))
        runs.append(SURE * (PRIOR_RUNS + own.costs))
    return np.array(shapes), np.array(runs)


def _endpoint_factor(arm: Arm, known: Mapping[Arm, Sums]) -> float:
    """How many times the rate of all models this one has in other operators."""
    asked = {other: one for other, one in known.items() if other.endpoint}
    every = _mean_rate(asked.values())
    mates = (one for other, one in asked.items() if other != arm and other.endpoint == arm.endpoint)
    return _together(mates).rate(every, MATES_RUNS) / every


def _mean_rate(known: Iterable[Sums]) -> float:
    """The mean over arms, not over pulls: one that earns well is pulled most, and says nothing of others."""
    rates = [one.rate(FIRST_RATE, RATE_RUNS) for one in known]
    return sum(rates, FIRST_RATE) / (len(rates) + 1)


def _sums(rewards: Sequence[Reward], half_life: float) -> dict[Arm, Sums]:
    """What each arm earned and cost, its measured pulls weighted by their age in proposals."""
    weighted = [
        (pull, 0.5 ** ((len(rewards) - 1 - at) / half_life))
        for at, pull in enumerate(rewards)
        if not math.isnan(pull.gain)
    ]
    largest = max((pull.gain for pull, _ in weighted), default=0.0) or 1.0
    shares = [pull.gain / largest for pull, _ in weighted]  # squares of tiny gains would underflow
    total = sum(weight * share for (_, weight), share in zip(weighted, shares, strict=True))
    squares = sum(weight * share**2 for (_, weight), share in zip(weighted, shares, strict=True))
    typical = squares / total if total > 0 else 1.0
    sums: dict[Arm, Sums] = {}
    for (pull, weight), share in zip(weighted, shares, strict=True):
        one = Sums(weight * share / typical, weight * pull.cost)
        sums[pull.arm] = sums.get(pull.arm, Sums()) + one
    return sums


def _together(known: Iterable[Sums]) -> Sums:
    return sum(known, Sums())
