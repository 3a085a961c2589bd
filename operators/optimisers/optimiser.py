"""The one door to classical optimisers: rows in, settings out. No state between two proposals.

A study is rebuilt from what was measured for each proposal, so that it knows what anyone tried and
a resumed campaign goes on where it was.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Self

import numpy as np

from operators.operator import KnobSetting, ProposalFailed, Request, RunState
from operators.source.constants import NEAR, constants, distance, place, tunable
from operators.source.knobs import (
    Knob,
    KnobError,
    KnobKind,
    Value,
    plain_value,
    rounded,
    same_value,
    sound_knobs,
)
from operators.source.parse import SourceError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial


SIGMA = 0.15  # of CMA-ES before anything is known, as a share of every range
SOURCES_LEAST = 8  # scored settings of relatives before CMA-ES starts from them
BEST_SHARE = 0.25  # of the relatives' settings that CMA-ES starts from


class Method(StrEnum):
    """Which optimiser."""

    TPE = "tpe"
    CMAES = "cmaes"
    GP = "gp"


@dataclass(frozen=True, slots=True)
class Observation:
    """One setting and its value; lower is better, always finite."""

    values: Mapping[str, Value]
    value: float


class Parzen:
    """A tree-structured Parzen estimator (Bergstra et al. 2011; Optuna) of these knobs.

    Settings that lack a knob or lie outside its range are not told. Telling is what takes time: ask one
    as often as suggestions are wanted.
    """

    def __init__(
        self, knobs: Sequence[Knob], told: Sequence[Observation], rng: np.random.Generator
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(n_startup_trials=1, seed=int(rng.integers(2**31)))
        self._knobs, self._study = knobs, optuna.create_study(sampler=sampler)
        spaces = {knob.name: _distribution(knob) for knob in knobs}
        row, now = _row_class(), datetime.now()
        for one in _inside(knobs, told):
            params = {knob.name: _param(knob, one.values[knob.name]) for knob in knobs}
            self._study.add_trial(
                row(
                    number=-1,
                    trial_id=-1,
                    state=optuna.trial.TrialState.COMPLETE,
                    value=one.value,
                    datetime_start=now,
                    datetime_complete=now,
                    params=params,
                    distributions=spaces,
                    user_attrs={},
                    system_attrs={},
                    intermediate_values={},
                )
            )

    def suggest(self) -> dict[str, Value]:
        """Values for the knobs, drawn anew."""
        trial = self._study.ask()
        return {knob.name: _asked(trial, knob) for knob in self._knobs}


def suggest_cmaes(
    knobs: Sequence[Knob],
    told: Sequence[Observation],
    sources: Sequence[Observation],
    start: Mapping[str, Value],
    rng: np.random.Generator,
) -> dict[str, Value]:
    """Values for these numeric knobs, two or more, by CMA-ES (Hansen 2016), told in the order of rows.

    It starts from the best of `sources` (warm start: Nomura et al. 2021) or around `start`.
    """
    from cmaes import CMA, get_warm_start_mgd

    told, sources = _inside(knobs, told), _inside(knobs, sources)
    mean, sigma, covariance = _vector(knobs, start).clip(0.0, 1.0), SIGMA, None
    if len(sources) >= SOURCES_LEAST:
        pairs = [(_vector(knobs, one.values), one.value) for one in sources]
        mean, sigma, covariance = get_warm_start_mgd(pairs, gamma=BEST_SHARE, alpha=SIGMA / 2)
    bounds = np.tile([0.0, 1.0], (len(knobs), 1))
    seed = int(rng.integers(2**31))
    optimiser = CMA(mean.clip(0.0, 1.0), sigma, bounds, seed=seed, cov=covariance)
    size = optimiser.population_size
    for at in range(0, len(told) - size + 1, size):
        optimiser.tell([(_vector(knobs, one.values), one.value) for one in told[at : at + size]])
    asked = optimiser.ask()
    return {knob.name: from_place(knob, float(at)) for knob, at in zip(knobs, asked, strict=True)}


@cache
def _row_class() -> type[FrozenTrial]:
    """A told row that a study keeps instead of copying: copies took a third of a campaign's own time."""
    from optuna.trial import FrozenTrial

    class Row(FrozenTrial):
        def __deepcopy__(self, memo: object) -> FrozenTrial:
            return self

    return Row


def _distribution(knob: Knob) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if knob.kind is KnobKind.CHOICE:
        return CategoricalDistribution(knob.choices)
    log = knob.kind is KnobKind.LOG
    if knob.whole:
        return IntDistribution(int(knob.low), int(knob.high), log=log)
    return FloatDistribution(knob.low, knob.high, log=log)


def _param(knob: Knob, value: Value) -> Value:
    """As the distribution wants it: 2 is no float, and 2.0 no choice of 1, 2 and 4."""
    if knob.kind is KnobKind.CHOICE:
        return next(one for one in knob.choices if same_value(one, value))
    return int(value) if knob.whole else float(value)


def _asked(trial: Trial, knob: Knob) -> Value:
    if knob.kind is KnobKind.CHOICE:
        return plain_value(trial.suggest_categorical(knob.name, knob.choices))
    log = knob.kind is KnobKind.LOG
    if knob.whole:
        return trial.suggest_int(knob.name, int(knob.low), int(knob.high), log=log)
    return rounded(knob, trial.suggest_float(knob.name, knob.low, knob.high, log=log))


def _inside(knobs: Sequence[Knob], told: Sequence[Observation]) -> list[Observation]:
    return [
        one
        for one in told
        if all(knob.name in one.values and knob.holds(one.values[knob.name]) for knob in knobs)
    ]


def _vector(knobs: Sequence[Knob], values: Mapping[str, Value]) -> np.ndarray:
    return np.array([place(knob, values[knob.name]) for knob in knobs])


def from_place(knob: Knob, at: float) -> int | float:
    """The value at a place in a numeric knob's range, 0 to 1, as a person would write it."""
    if knob.kind is KnobKind.LOG:
        low, high = math.log(knob.low), math.log(knob.high)
        return rounded(knob, math.exp(low + at * (high - low)))
    return rounded(knob, knob.low + at * (knob.high - knob.low))


# -- The space of one structure's constants: what can be turned, what was tried there, and what it showed.


FLOOR = 0.3  # of the mean weight, for a knob that never showed an effect
MAX_COMPARED = 200  # settings of one structure
AUGMENTED = 0.05  # what the sum of all weighs beside the largest: no goal is blind to an objective
MIN_STEP = 0.1  # of a range: what a smaller step shows is mostly noise


@dataclass(frozen=True, slots=True)
class Space:
    """What can be turned in a parent, its own place there, and what is known of other settings."""

    knobs: tuple[Knob, ...]
    guessed: frozenset[str]  # names of those whose range is a guess
    start: Mapping[str, Value]
    settings: Sequence[KnobSetting]  # of the structure and its relatives, oldest first

    @classmethod
    def of(cls, request: Request) -> Self:
        """The space around a request's parent. ProposalFailed without anything to turn."""
        parent = request.parent("parent")
        settings = request.history.settings(parent.variant_id)
        first = next((one.constants for one in settings if one.own), {})
        try:
            ranges = request.history.ranges()
            given = {*ranges, *(knob.name for knob in sound_knobs(parent.source))}
            knobs = tunable(parent.source, _at_home(request), first, ranges)
        except KnobError as error:
            raise ProposalFailed(str(error)) from None
        if not knobs:
            raise ProposalFailed("the parent has no constant to turn")
        start = {knob.name: knob.value for knob in knobs}
        return cls(knobs, frozenset(start) - given, start, settings)

    def weighed(self, rng: np.random.Generator) -> Self:
        """The same with all objectives in the place of the first, by weights drawn at random.

        The augmented Tchebycheff function over each one's rank: over many draws the optima lie all along the
        front (ParEGO: Knowles 2006; by ranks, because one bad setting would squeeze a scale of values). One
        without a score stays as it is.
        """
        scored = [one for one in self.settings if one.values]
        if not scored:
            return self
        values = np.array([one.values for one in scored])
        # the share of the settings that are better, [settings, objectives]
        shares = (values[:, None] > values[None]).mean(axis=1)
        shares *= rng.dirichlet(np.ones(values.shape[1]))
        goals = shares.max(axis=1) + AUGMENTED * shares.sum(axis=1)
        goal = {one.variant_id: float(at) for one, at in zip(scored, goals, strict=True)}
        settings = [
            replace(one, value=goal.get(one.variant_id, one.value)) for one in self.settings
        ]
        return replace(self, settings=settings)

    def own(self, state: RunState) -> list[KnobSetting]:
        """The structure's own settings in a state."""
        return [one for one in self.settings if one.own and one.state is state]

    def told(self, waiting: bool = False) -> list[Observation]:
        """The structure's own results in order.

        A failure counts as bad as the worst and half the spread more, a run under way as the worst:
        it is not to be tried again at once.
        """
        values = [one.value for one in self.own(RunState.SCORED)]
        if not values:
            return []
        worst = max(values)
        counted = {
            RunState.WAITING: worst,
            RunState.FAILED: worst + 0.5 * (worst - min(values)),
        }
        return [
            Observation(one.constants, counted.get(one.state, one.value))
            for one in self.settings
            if one.own and (waiting or one.state is not RunState.WAITING)
        ]

    def relatives(self) -> list[Observation]:
        """The relatives' scored settings, best first, moved so that the best is where we began."""
        others = [one for one in self.settings if not one.own and one.state is RunState.SCORED]
        own = self.own(RunState.SCORED)
        if not others or not own:
            return []
        shift = own[0].value - min(one.value for one in others)
        told = [Observation(one.constants, one.value + shift) for one in others]
        return sorted(told, key=lambda one: one.value)

    def was_tried(self, values: Mapping[str, Value]) -> bool:
        """Whether the structure was set (nearly) so before."""
        return any(
            one.own and distance(self.knobs, values, one.constants) <= NEAR for one in self.settings
        )

    def drawn(self, most: int, rng: np.random.Generator) -> tuple[Knob, ...]:
        """One to `most` knobs, the more likely the more they mattered so far, here and in relatives."""
        weights = self.weights()
        number = min(int(rng.integers(1, most + 1)), len(self.knobs))
        chosen = rng.choice(len(self.knobs), size=number, replace=False, p=weights)
        return tuple(self.knobs[at] for at in sorted(int(one) for one in chosen))

    def weights(self) -> np.ndarray:
        """How much each knob seems to matter, [knobs], sum 1.

        A setting's difference to the most alike earlier one of its structure, per step, is shared out
        among the knobs in which the two differ, by the square of the step.
        """
        sums, shares = np.zeros(len(self.knobs)), np.zeros(len(self.knobs))
        for group in self._groups():
            places = np.array([[_place(knob, one) for knob in self.knobs] for one in group])
            values = np.array([one.value for one in group])
            for at in range(1, len(group)):
                squares = (places[at] - places[:at]) ** 2
                nearest = int(np.lexsort((squares.sum(axis=1), (squares > 0).sum(axis=1)))[0])
                length = float(squares[nearest].sum())
                if length > 0:
                    share = squares[nearest] / length
                    effect = abs(values[at] - values[nearest])
                    sums += share * effect / max(math.sqrt(length), MIN_STEP)
                    shares += share
        if not sums.any():
            return np.full(len(self.knobs), 1 / len(self.knobs))
        mean = sums.sum() / shares.sum()
        matters = (sums + mean) / (shares + 1)
        matters += FLOOR * matters.mean()
        weights: np.ndarray = matters / matters.sum()
        return weights

    def _groups(self) -> list[list[KnobSetting]]:
        """The scored settings by structure."""
        groups: dict[str, list[KnobSetting]] = defaultdict(list)
        for one in self.settings:
            if one.state is RunState.SCORED:
                groups[one.structure].append(one)
        return [group[-MAX_COMPARED:] for group in groups.values()]


def _at_home(request: Request) -> set[str]:
    """The names that need no guess: the seed's author gave them a comment, or meant them to stay.

    Where the author gave none a comment, all are guessed.
    """
    source = request.history.seed_source() or request.parent("parent").source
    try:
        return set(constants(source)) if sound_knobs(source) else set()
    except SourceError:
        return set()


def _place(knob: Knob, one: KnobSetting) -> float:
    """A setting's place in a knob's range; 0.5 where it has none."""
    value = one.constants.get(knob.name)
    return 0.5 if value is None or not knob.holds(value) else place(knob, value)
