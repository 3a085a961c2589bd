"""One structure's study: what a surrogate makes of its settings and its relatives', and what it would run."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from operators.operator import KnobSetting, Left, RunState
from operators.optimisers.acquisition import (
    CLIPPED,
    POOL,
    KnowledgeGradient,
    RankedPoints,
    Scores,
    SettingPool,
    VolumeGain,
    shares_of,
)
from operators.optimisers.optimiser import Space, from_place
from operators.optimisers.surrogate import (
    Axis,
    Domain,
    Floats,
    Surrogate,
    Told,
    as_chances,
    logged,
    standardised,
)
from operators.source.constants import place
from operators.source.knobs import Knob, KnobKind, Value, same_value

FIRST = 10  # settings before there is a model
GROWTH = 1.2  # as many more, before its hyperparameters are fitted again
MAX_TOLD = 500  # settings, the newest: what a model takes grows with their cube
MAX_PLACES = 64  # of a knob of whole numbers; more are a range
FEW_KNOBS = 6  # up to so many are drawn at random at first; of more, most are fine where they are
SDS = 3.0  # above what was measured first: where an error stops to count among several objectives
UNKNOWN_NOISE = 0.02  # of its value, while nothing was run twice
UNEQUAL = 1.05  # seconds of the longest run in those of the shortest: below that all take the same
MIN_CHANCE = 0.02  # that a setting does not fail
DRAWN = 40  # settings that are suggested before there is a model
POOL_BY_VOLUME = 300  # a volume takes longer than a gradient

Settings = Callable[[int], Sequence[KnobSetting]]  # as they were when this row was the last


@dataclass
class Fits:
    """What studies need not find out again: hyperparameters, and where settings lie.

    Neither depends on when it was asked for: each fit is of the rows up to some, no matter who asks first.
    """

    known: dict[Hashable, Floats] = field(default_factory=dict)
    places: dict[Hashable, dict[str, tuple[float, ...]]] = field(default_factory=dict)

    def of(self, key: Hashable, make: Callable[[], Floats]) -> Floats:
        """What is kept under a key, made where nothing is."""
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]


class Study:
    """All that is known around one structure, as the surrogate sees it.

    `as_of`: the settings up to a row; `left`: what may still be spent, None where all runs take the same.
    """

    def __init__(
        self,
        space: Space,
        rng: np.random.Generator,
        as_of: Settings,
        left: Left | None = None,
        fits: Fits | None = None,
    ) -> None:
        self._space, self._rng, self._as_of, self._left = space, rng, as_of, left
        self._fits = fits or Fits()
        self._ranges = tuple(
            (one.name, one.kind, one.low, one.high, one.choices) for one in space.knobs
        )
        self._places = self._fits.places.setdefault(self._ranges, {})
        self._home = next((one.edits for one in space.settings if one.own), frozenset[str]())
        every = {edit for one in space.settings for edit in one.edits}
        shared = [one.edits for one in space.settings]
        self._edits = sorted(every - frozenset.intersection(*shared)) if shared else []
        self.domain = Domain(tuple(map(axis_of, space.knobs)), len(self._edits))
        self.scored = _scored(space.settings)[-MAX_TOLD:]
        here = np.array([float(edit in self._home) for edit in self._edits])
        own = [one for one in space.settings if one.own]
        self._parent = KnobSetting(
            "", "", space.start, RunState.WAITING, math.nan, math.nan, 0, edits=self._home
        )
        self._pool = SettingPool(
            self.domain, here, self._points(own), rng, len(space.knobs) > FEW_KNOBS
        )

    # -- what it would run ---------------------------------------------------------------------------------

    def suggestions(self, several: bool = False) -> Iterator[Mapping[str, Value]]:
        """New values for the knobs, the most promising first. `several`: for all objectives together."""
        if len(self.scored) < FIRST:
            start = self._points([self._parent])
            points = self._pool.first(start[0], DRAWN)
        elif several and all(len(one.measured) > 1 for one in self.scored):
            points = self._by_volume().points
        else:
            points = self._ranked.points
        return (self._values(one) for one in points)

    def repeats(self) -> tuple[str, ...] | None:
        """The variants that are better run again than anything new, best first. None: there is no model yet."""
        if len(self.scored) < FIRST:
            return None
        scores, new = self._gradient.of_repeats(), self._ranked.scores
        least = float(new[0]) if len(new) else 0.0
        order = np.argsort(-scores, kind="stable")
        return tuple(self.scored[at].variant_id for at in order if scores[at] > least)

    def believed(self) -> dict[str, tuple[float, float]]:
        """By variant: what is believed of the first objective, and how many runs that is worth."""
        if len(self.scored) < FIRST:
            return {one.variant_id: (_mean(one), float(one.n)) for one in self.scored}
        mean, variance = self.model.at_told()
        worth = np.minimum(self.model.noise / variance, self.model.told.runs + 1)
        return {
            one.variant_id: (float(level), float(runs))
            for one, level, runs in zip(
                self.scored, self.model.scale.back(mean), worth, strict=True
            )
        }

    @cached_property
    def model(self) -> Surrogate:
        """What is believed of the first objective."""
        model = self._fitted("first", Surrogate(self.domain), self._told_of)
        return model.condition(self.told, self._pending)

    @cached_property
    def told(self) -> Told:
        """The settings with a score."""
        return self._told_of(self.scored)

    @cached_property
    def _gradient(self) -> KnowledgeGradient:
        return KnowledgeGradient(self.model, self._shares())

    @cached_property
    def _ranked(self) -> RankedPoints:
        chance, gradient = self._chance(), self._gradient
        order = np.argsort(gradient.believed, kind="stable")
        return self._pool.ranked(
            self.told.points[order], lambda points: gradient(points) * chance(points), POOL
        )

    def _by_volume(self) -> RankedPoints:
        """For all objectives: what enlarges the front of what is believed."""
        told, limit = self._clipped(self.scored)
        model = self._fitted(
            "clipped", Surrogate(self.domain, standardised), lambda known: self._clipped(known)[0]
        ).condition(told, self._pending)
        rest = np.array([one.measured[1:] for one in self.scored])
        others = [self._exact(at) for at in range(1, len(self.scored[0].measured))]
        level = model.scale.back(model.at_told()[0])
        values = np.column_stack([level, rest])
        chance, volumes = self._chance(), VolumeGain(model, others, values, limit)
        parents = told.points[self._rng.permutation(volumes.front)]
        return self._pool.ranked(
            parents, lambda points: volumes(points) * chance(points), POOL_BY_VOLUME
        )

    def _clipped(self, known: Sequence[KnobSetting]) -> tuple[Told, float]:
        """What was told with errors far behind the first setting's clipped, and where they stop to count."""
        told = self._told_of(known)
        freedom, start = float((told.runs - 1).sum()), float(told.means[0])
        noise = math.sqrt(float(told.squares.sum()) / freedom) if freedom else 0.0
        limit = start + (SDS * noise or UNKNOWN_NOISE * abs(start))
        worst = limit + CLIPPED * (limit - float(told.means.min()))
        return replace(told, means=np.minimum(told.means, worst)), limit

    def _exact(self, objective: int) -> Surrogate:
        """A model of another objective, which has no noise."""

        def told_of(known: Sequence[KnobSetting]) -> Told:
            values = np.array([one.measured[objective] for one in known])
            return Told.once(self._points(known), values)

        model = self._fitted(objective, Surrogate(self.domain, logged, exact=True), told_of)
        return model.condition(told_of(self.scored))

    def _shares(self) -> Scores | None:
        """What a run takes of what is left; None where all take the same."""
        seconds = np.array([one.seconds for one in self.scored])
        if self._left is None or not seconds.min() > 0 or seconds.max() < UNEQUAL * seconds.min():
            return None

        def told_of(known: Sequence[KnobSetting]) -> Told:
            return Told.once(self._points(known), np.array([one.seconds for one in known]))

        costs = self._fitted("seconds", Surrogate(self.domain, logged, exact=True), told_of)
        costs.condition(told_of(self.scored))
        return shares_of(costs, self._left.seconds, self._left.runs)

    def _chance(self) -> Scores:
        """How likely settings are not to fail: told as bad scores, failures would bend the model."""
        failed = [one for one in self._space.settings if one.state is RunState.FAILED]
        if not failed:
            return lambda points: np.ones(len(points))
        points = np.concatenate([self.told.points, self._points(failed)])
        worked = Told.once(points, np.repeat([1.0, 0.0], [len(self.scored), len(failed)]))
        alike = Surrogate(self.domain, as_chances, exact=True)  # or failures would be incredible
        key = ("failed", self._ranges, len(self._edits), points.tobytes())
        alike.theta = self._fits.of(key, lambda: alike.fit(worked).theta)
        alike.condition(worked)

        def chance(points: Floats) -> Floats:
            from scipy.special import ndtr

            mean, variance = alike.predict(points)
            likely: Floats = ndtr((alike.scale.back(mean) - 0.5) / np.sqrt(variance))
            return likely.clip(MIN_CHANCE, 1.0)

        return chance

    # -- how it is read ------------------------------------------------------------------------------------

    def _fitted(
        self, name: Hashable, model: Surrogate, told_of: Callable[[Sequence[KnobSetting]], Told]
    ) -> Surrogate:
        """The model with hyperparameters of the rows up to the last fit that was due."""
        count = FIRST
        while (more := math.ceil(GROWTH * count)) <= len(self.scored):
            count = more
        until = self.scored[count - 1].row
        known = tuple(one.variant_id for one in self.scored[:count])

        def fit() -> Floats:
            then = _scored(self._as_of(until))[-MAX_TOLD:]
            return model.fit(told_of(then)).theta

        model.theta = self._fits.of((name, until, self._ranges, len(self._edits), known), fit)
        return model

    def _told_of(self, known: Sequence[KnobSetting]) -> Told:
        return Told(
            self._points(known),
            np.array([_mean(one) for one in known]),
            np.array([float(max(one.n, 1)) for one in known]),
            np.array([one.squares for one in known]),
        )

    @cached_property
    def _pending(self) -> Floats:
        waiting = [one for one in self._space.settings if one.state is RunState.WAITING]
        return self._points(waiting)

    def _points(self, settings: Sequence[KnobSetting]) -> Floats:
        """Settings as points, [settings, knobs + edits]."""
        points = np.empty((len(settings), len(self._space.knobs) + len(self._edits)))
        knobs = len(self._space.knobs)
        for row, one in enumerate(settings):
            points[row, :knobs] = self._places_of(one)
            for at, edit in enumerate(self._edits, knobs):
                points[row, at] = edit in one.edits
        return points

    def _places_of(self, one: KnobSetting) -> tuple[float, ...]:
        """A setting's place on each axis; a knob that it lacks, or holds out of range, is as in the parent."""
        if one.variant_id in self._places:
            return self._places[one.variant_id]
        start, places, whole = self._space.start, list[float](), bool(one.variant_id)
        for knob in self._space.knobs:
            value = one.constants.get(knob.name)
            if value is None or not knob.holds(value):
                value, whole = start[knob.name], False
            places.append(point_of(knob, value))
        if whole:
            self._places[one.variant_id] = tuple(places)
        return tuple(places)

    def _values(self, point: Floats) -> dict[str, Value]:
        """Of knobs that stay where the parent has them, the parent's own: a place is rounded."""
        start = self._points([self._parent])[0]
        return {
            knob.name: self._space.start[knob.name] if at == home else value_at(knob, float(at))
            for knob, at, home in zip(self._space.knobs, point, start, strict=False)
        }


def axis_of(knob: Knob) -> Axis:
    """A knob as the model sees it: choices that are all numbers are ordered."""
    if knob.kind is KnobKind.CHOICE:
        return Axis(len(knob.choices), _is_ordered(knob))
    places = round(knob.high - knob.low) + 1
    return Axis(places if knob.kind is KnobKind.INT and places <= MAX_PLACES else 0)


def point_of(knob: Knob, value: Value) -> float:
    """Where a value lies on its axis."""
    if knob.kind is KnobKind.CHOICE and not _is_ordered(knob):
        return float(next(at for at, one in enumerate(knob.choices) if same_value(one, value)))
    return min(max(place(knob, value), 0.0), 1.0)


def value_at(knob: Knob, at: float) -> Value:
    """The value at a place of its axis."""
    if knob.kind is KnobKind.CHOICE:
        return knob.choices[round(at * (len(knob.choices) - 1) if _is_ordered(knob) else at)]
    return from_place(knob, at)


def _is_ordered(knob: Knob) -> bool:
    numbers = [one for one in knob.choices if not isinstance(one, bool | str)]
    return len(numbers) == len(knob.choices) > 1 and sorted(numbers) == numbers


def _scored(settings: Sequence[KnobSetting]) -> list[KnobSetting]:
    """Those with a score, in the order of their first rows."""
    scored = [one for one in settings if one.state is RunState.SCORED]
    return sorted(scored, key=lambda one: one.row)


def _mean(one: KnobSetting) -> float:
    return one.measured[0] if one.measured else one.value
