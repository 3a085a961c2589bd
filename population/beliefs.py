"""What is believed of every variant at a rung, grown row by row, and the front of it.

In the objectives a child's belief is its posterior, centred on its parent (`posteriors`), where runs are noisy;
in everything else the mean of its blocks (`levels`). All of it depends on the rows in their order alone, never
on when it was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from population.archive import (
    Constraint,
    Objective,
    Point,
    front_among,
    is_behind,
    nearest,
    points_of,
)
from population.statistics import DISQUALIFYING
from population.statistics.blocks import BlockMeans
from population.statistics.posteriors import NO_FAMILY, Family, Posteriors
from population.types import Estimate, MeasurementRow, Status

FIRST_FIT = 8  # children, before the prior is fitted for the first time
MAX_NEAR = 128  # variants near the front that are kept in sight of it, when there are twice as many
GROWTH = 1.25  # as many more, before it is fitted again: all fits together cost what one row does
MAX_FITTED = (
    2000  # children that a fit looks at, the newest: enough to tell what operators do by now
)

Source = BlockMeans | Posteriors


class MetricEstimates(Mapping[str, Estimate]):
    """One variant's estimates by metric, made as they are asked for."""

    def __init__(self, beliefs: Mapping[str, Source], variant_id: str) -> None:
        self._beliefs, self._variant_id = beliefs, variant_id

    def __getitem__(self, metric: str) -> Estimate:
        belief = self._beliefs.get(metric)
        found = belief.estimate(self._variant_id) if belief else None
        if found is None:
            raise KeyError(metric)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._beliefs if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def all(self) -> dict[str, Estimate]:
        """Every estimate, each made once."""
        made = ((name, belief.estimate(self._variant_id)) for name, belief in self._beliefs.items())
        return {name: one for name, one in made if one is not None}


class RungBeliefs:
    """All metrics of a rung up to some row, and the front of it. Not thread-safe."""

    def __init__(
        self,
        seed_id: str,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        left_out: Container[str] = (),
        family: Family = NO_FAMILY,
    ) -> None:
        self._seed_id, self._objectives, self._constraints = seed_id, objectives, constraints
        self._left_out = left_out  # a member of no front
        self._family = family
        self._turns = {one.name: one.sign for one in objectives}
        self._levels: dict[str, BlockMeans] = {}
        self._beliefs: dict[str, Source] = {}  # posteriors of the objectives, levels of the rest
        self._children: dict[str, None] = {}  # with a row, whatever its status, in order
        self._next_fit = FIRST_FIT
        self._found: dict[str, MetricEstimates] = {}  # in order of first measurement
        self._places: dict[str, int] = {}  # by variant, in that order
        self._disqualified: set[str] = set()
        self._front: list[str] = []
        # Who can be on the front: every row moves all beliefs a little, and looking at all variants for that
        # would make a row the dearer the more there are. Who is layers away comes back with its next run.
        self._near: dict[str, None] = {}
        self._kept = 0  # of them, as it was last decided
        self._points: dict[str, Point | None] = {}  # where those near it stand, until that moves
        self._stands: dict[
            str, Point
        ] = {}  # where the front's members stood when it was last found
        self._moved = False  # whether anybody moved since then
        self._changes = 0
        self.taken = 0  # rows looked at so far
        self.last_id = 0

    def add(self, row: MeasurementRow) -> None:
        """Take in one row: an `ok` one says something, one that disqualifies takes all back.

        ValueError for a number that is not finite.
        """
        request = row.measurement.request
        if request.variant_id != self._seed_id:
            self._children.setdefault(request.variant_id)
            if row.measurement.status in DISQUALIFYING:
                self._disqualify(request.variant_id)
        if row.measurement.status is Status.OK and request.variant_id not in self._disqualified:
            self._take(row)
        if len(self._children) >= self._next_fit:
            self._next_fit = math.ceil(GROWTH * len(self._children))
            self._learn()

    def _take(self, row: MeasurementRow) -> None:
        request = row.measurement.request
        if request.variant_id == self._seed_id:  # limits hang on it, and all descend from it
            self._points.clear()
        self._moves([request.variant_id])
        for metric, value in row.measurement.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"measurement {row.id} has {metric} = {value}")
            self._of(metric).add(request.variant_id, request.block, value)
            self._forget(metric, request.variant_id)
        self._found.setdefault(
            request.variant_id, MetricEstimates(self._beliefs, request.variant_id)
        )
        self._places.setdefault(request.variant_id, len(self._places))
        self._near.setdefault(request.variant_id)
        if len(self._near) > 2 * max(MAX_NEAR, self._kept) and self._seed_id in self._found:
            self._keep_nearest()

    def _forget(self, metric: str, variant_id: str) -> None:
        belief = self._beliefs[metric]
        if isinstance(belief, Posteriors):
            self._moves(belief.forget(variant_id))

    def _moves(self, variant_ids: Iterable[str]) -> None:
        """What is believed of these is another now."""
        self._moved = True
        for one in variant_ids:
            self._points.pop(one, None)

    def _keep_nearest(self) -> None:
        """By what is believed at this row, so that it does not depend on when the front was asked for."""
        aside = [one for one in self._near if one in self._left_out]  # others may let them in later
        near = self.each_once(one for one in self._near if one not in self._left_out)
        (seed,) = self.each_once([self._seed_id]).values()
        kept = nearest(near, self._objectives, seed, self._constraints, MAX_NEAR)
        self._near = dict.fromkeys([*kept, *aside])
        self._kept = len(self._near)
        self._points = {one: self._points[one] for one in self._near if one in self._points}

    def each_once(self, variant_ids: Iterable[str]) -> dict[str, dict[str, Estimate]]:
        """What a front depends on, each estimate asked for once: an objective asks several times."""
        names = dict.fromkeys(one.name for one in self._objectives)
        names |= dict.fromkeys(one.name for one in self._constraints)
        asked = list(variant_ids)
        found: dict[str, dict[str, Estimate]] = {one: {} for one in asked}
        for name in names:
            for one, told in self._beliefs[name].estimates(asked) if name in self._beliefs else ():
                found[one][name] = told
        return found

    def _of(self, metric: str) -> BlockMeans:
        """The levels of a metric, and what is believed in it, from its first number on."""
        if metric not in self._levels:
            levels = self._levels[metric] = BlockMeans(self._seed_id)
            turn = self._turns.get(metric)
            self._beliefs[metric] = Posteriors(levels, turn, self._family) if turn else levels
        return self._levels[metric]

    def _learn(self) -> None:
        newest = list(self._children)[-MAX_FITTED:]
        scored = [one for one in newest if one in self._found]
        failed = [one for one in newest if one not in self._found and one not in self._disqualified]
        for belief in self._beliefs.values():
            if isinstance(belief, Posteriors):
                belief.learn(scored, failed)

    def _disqualify(self, variant_id: str) -> None:
        self._disqualified.add(variant_id)
        self._near.pop(variant_id, None)
        if self._found.pop(variant_id, None) is not None:
            for metric, levels in self._levels.items():
                levels.drop(variant_id)
                self._forget(metric, variant_id)

    def __len__(self) -> int:
        """How many variants have a score."""
        return len(self._found)

    def __contains__(self, variant_id: str) -> bool:
        return variant_id in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._found)

    def place_of(self, variant_id: str) -> int:
        """Where a variant stands in the order of first measurement; KeyError without an `ok` run."""
        return self._places[variant_id]

    def found(self, variant_id: str) -> MetricEstimates:
        """What is believed of one variant; KeyError without an `ok` run."""
        return self._found[variant_id]

    def measured(self, variant_id: str) -> MetricEstimates:
        """What one variant's runs average to, nothing shrunk."""
        return MetricEstimates(self._levels, variant_id)

    def error(self, variant_id: str, metric: str) -> float:
        """What is shown after the ± of a belief: its sd, widened by what few runs leave unknown."""
        return self._found[variant_id][metric].sd * self._levels[metric].widening(variant_id)

    def scatter(self, variant_id: str, metric: str) -> float:
        """The sum of squares of a variant's blocks about their mean."""
        return self._levels[metric].scatter(variant_id) if metric in self._levels else 0.0

    def noise_sd(self, metric: str) -> float | None:
        """The sd of one run of a variant from block to block; None while it is not known."""
        return self._levels[metric].pooled_noise() if metric in self._levels else None

    def usual_gain(self, operator: str) -> float | None:
        """What an edit of an operator gains in the first objective where it gains; None while not known."""
        belief = self._beliefs.get(self._objectives[0].name)
        return belief.usual_gain(operator) if isinstance(belief, Posteriors) else None

    def front(self) -> list[str]:
        """The front, best first objective first; empty before the seed has a score."""
        if self._seed_id not in self._found:
            return []
        names = {one.name for one in self._objectives} | {one.name for one in self._constraints}
        changes = sum(self._beliefs[name].settle() for name in names if name in self._beliefs)
        if changes != self._changes:
            self._points.clear()
        if self._moved or changes != self._changes:
            among = self._who_may_be_on_it()
            unknown = self.each_once(one for one in among if one not in self._points)
            (seed,) = self.each_once([self._seed_id]).values()
            self._points |= dict.fromkeys(unknown)
            self._points |= points_of(unknown, self._objectives, seed, self._constraints)
            points = {one: point for one in among if (point := self._points[one]) is not None}
            self._front = front_among(points)
            self._stands = {one: points[one] for one in self._front}
        self._moved, self._changes = False, changes
        return list(self._front)

    def _who_may_be_on_it(self) -> list[str]:
        """Of those near: the front, who moved, and whom only members that moved or left kept off it.

        Who is behind a member that stands where it stood stays so.
        """
        gone = [
            point
            for one, point in self._stands.items()
            if one not in self._points or one in self._left_out
        ]
        among = dict.fromkeys(one for one in self._front if one in self._found)
        for one in self._near:
            point = self._points.get(one)
            moved = one not in self._points
            if moved or (point is not None and any(is_behind(point, other) for other in gone)):
                among.setdefault(one)
        return [one for one in among if one not in self._left_out]
