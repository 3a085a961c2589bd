"""The one door to classical optimisers: rows in, settings out. No state between two proposals.

A study is rebuilt from what was measured for each proposal, so that it knows what anyone tried and
a resumed campaign goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from operators.source.constants import place
from operators.source.knobs import Knob, KnobKind, Value, plain_value, rounded, same_value

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


@dataclass(frozen=True, slots=True)
class Observation:
    """One setting and its value; less is better, always finite."""

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
