"""What to run next by a surrogate: the knowledge gradient of new settings and repeats, or the hypervolume."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from operators.optimisers.surrogate import Domain, Floats, Surrogate

HORIZON = 3.0  # runs that one is weighed as: under heavy noise one alone seems worth nothing, three do not
MAX_RUNS = 24  # of one setting
POOL = 300  # settings that are looked at, and ...
CLIMBS = 2  # ... how often the one-knob neighbours of the best three are added
BEST = 3
PARENTS = 20  # the best believed, from which half of the pool is made
NEIGHBOURED = 4  # of them, whose one-knob neighbours are in the pool
RANK_DECAY = 0.15  # of the chance to be a parent, from one rank to the next
CHANGED = 1.5  # knobs that a mutant changes beside one, on average
NEAR_SHARE = 0.7  # of changes in an ordered knob, by a step or two
STEP = 0.12  # of a range without places: sd of a step
STEPS = (-2, -1, 1, 2)
OFFSETS = (-0.15, -0.05, 0.05, 0.15)  # of a range without places: its neighbours
HOPE = 0.3  # sds that an error is hoped to lie below its mean, when volumes are weighed
BEYOND = (
    0.3  # of the largest value seen lies the far corner behind it, or nothing larger is ever tried
)
CLIPPED = 0.3  # of the span beyond the corner: errors worse than that are told as that

Scores = Callable[[Floats], Floats]


def gain(z: Floats) -> Floats:
    """E[max(z + N(0, 1), 0)]."""
    from scipy.special import ndtr

    expected: Floats = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) + z * ndtr(z)
    return expected


@dataclass(frozen=True, slots=True)
class RankedPoints:
    """Settings, the most promising first, and what a run of each is worth."""

    points: Floats
    scores: Floats


class KnowledgeGradient:
    """How much better the best believed is expected to be after a run, per share of what is left.

    `shares`: of points, what share of the seconds and runs left one run takes; None: all take the same.
    """

    def __init__(self, model: Surrogate, shares: Scores | None = None) -> None:
        self._model, self._shares = model, shares
        self.believed, self._variance = model.at_told()

    def __call__(self, points: Floats) -> Floats:
        """The scores of settings that were not run, [points]."""
        mean, variance = self._model.predict(points)
        variance = variance + self._model.own
        sd = variance / np.sqrt(variance + self._model.noise / HORIZON)
        score = sd * gain((self.believed.min() - mean) / sd)
        return score / self._shares(points) if self._shares else score

    def of_repeats(self) -> Floats:
        """The scores of running again what was told, [told]; -1 for those with MAX_RUNS."""
        model, order = self._model, np.argsort(self.believed, kind="stable")
        other = np.full(len(order), self.believed[order[0]])
        other[order[0]] = self.believed[order[min(1, len(order) - 1)]]
        noise = model.noise * model.wild / HORIZON
        sd = self._variance / np.sqrt(self._variance + noise)
        score = sd * gain(-abs(other - self.believed) / sd)
        score[model.told.runs >= MAX_RUNS] = -1.0
        return score / self._shares(model.told.points) if self._shares else score


def shares_of(costs: Surrogate, seconds_left: float, runs_left: float) -> Scores:
    """What share of what is left a run takes: of the seconds as `costs` has it, and of the runs.

    What would overrun the seconds is priced out.
    """

    def shares(points: Floats) -> Floats:
        took = costs.scale.back(costs.mean(points))
        share = took / max(seconds_left, 1e-9) + 1 / max(runs_left, 1)
        return np.where(took > seconds_left, 1e3 * share, share)

    return shares


class VolumeGain:
    """How much a setting would enlarge the volume that the front covers (SMS-EGO: Ponweiser et al. 2008).

    `model` believes in the first objective, `others` in the rest, which have no noise; `values` is what is
    believed of those told, [told, objectives], and `limit` where the first stops to count.
    """

    def __init__(
        self, model: Surrogate, others: list[Surrogate], values: Floats, limit: float
    ) -> None:
        self._model, self._others = model, others
        largest = values[:, 1:].max(axis=0)
        top = np.array([limit, *(largest + BEYOND * abs(largest))])
        low = np.minimum(values.min(axis=0), top)
        self._low = low - 0.05 * (top - low)
        self._span = np.maximum(top - self._low, 1e-12)
        self.front = nondominated(values)
        self._covered = (values[self.front] - self._low) / self._span

    def __call__(self, points: Floats) -> Floats:
        """The scores of settings, [points]; where nothing would grow, the nearer to the front the better."""
        import moocore

        mean, variance = self._model.predict(points)
        hoped = self._model.scale.back(mean - HOPE * np.sqrt(variance + self._model.own))
        rest = (one.scale.back(one.mean(points)) for one in self._others)
        values = (np.column_stack([hoped, *rest]) - self._low) / self._span
        corner = np.ones(values.shape[1])
        behind = (self._covered[None] <= values[:, None]).all(axis=2).any(axis=1)
        behind |= (values >= corner).any(axis=1)
        score: Floats = (self._covered[None] - values[:, None]).max(axis=2).min(axis=1) * 1e-6
        has = moocore.hypervolume(self._covered, ref=corner)
        for at in np.flatnonzero(~behind):
            grown = moocore.hypervolume(np.vstack([self._covered, values[at]]), ref=corner)
            score[at] = grown - has
        return score


def nondominated(values: Floats) -> np.ndarray:
    """Places of the rows that no other dominates; lower is better."""
    import moocore

    places: np.ndarray = np.flatnonzero(moocore.is_nondominated(np.ascontiguousarray(values)))
    return places


class SettingPool:
    """Settings of one structure to choose among: random ones, mutants and crossings of the best, neighbours.

    `home`: the structure's edits; `known`: points that are not to be suggested. With `many` knobs nothing is
    random: of twenty most are fine where they are.
    """

    def __init__(
        self, domain: Domain, home: Floats, known: Floats, rng: np.random.Generator, many: bool
    ) -> None:
        self._domain, self._home, self._rng, self._many = domain, home, rng, many
        self._known = set(self._names(known))

    def ranked(self, parents: Floats, score: Scores, size: int = POOL) -> RankedPoints:
        """What can be made of these parents, the best by a score first. Empty: nothing is left to try."""
        points = self._new(self._made(parents, size))
        if not len(points):
            points = self._new(self.random(size))
        scores = score(points) if len(points) else np.empty(0)
        for _ in range(CLIMBS if len(points) else 0):
            top = points[np.argsort(-scores, kind="stable")[:BEST]]
            more = self._new(np.concatenate([self.neighbours(one) for one in top]), points)
            if not len(more):
                break
            points = np.concatenate([points, more])
            scores = np.concatenate([scores, score(more)])
        order = np.argsort(-scores, kind="stable")
        return RankedPoints(points[order], scores[order])

    def first(self, start: Floats, count: int) -> Floats:
        """What is run before there is a model: random settings, or with many knobs small changes of `start`."""
        if self._many:
            return self._new(self.mutants(np.repeat(start[None], count, axis=0), near=1.0))
        return self._new(self.random(count))

    def random(self, count: int) -> Floats:
        """Settings at random, [count, axes + edits]."""
        columns = [axis.draw(count, self._rng) for axis in self._domain.axes]
        return self._at_home(np.column_stack(columns))

    def mutants(self, parents: Floats, near: float = NEAR_SHARE) -> Floats:
        """One knob of each changed, and a few more by chance; an ordered one mostly by little."""
        axes, rng = self._domain.axes, self._rng
        shape = len(parents), len(axes)
        change = rng.random(shape) < CHANGED / len(axes)
        change[np.arange(len(parents)), rng.integers(len(axes), size=len(parents))] = True
        little = rng.random(shape) < near
        steps, sizes = rng.choice(STEPS, size=shape), STEP * rng.standard_normal(shape)
        anew = self.random(len(parents))[:, : len(axes)]
        made = parents[:, : len(axes)].copy()
        for at, axis in enumerate(axes):
            step = steps[:, at] / max(axis.places - 1, 1) if axis.places else sizes[:, at]
            moved = np.where(little[:, at] & axis.ordered, made[:, at] + step, anew[:, at])
            made[:, at] = np.where(change[:, at], axis.snapped(moved), made[:, at])
        return self._at_home(made)

    def neighbours(self, point: Floats) -> Floats:
        """All settings that differ in one knob; of a range without places a few."""
        rows = []
        for at, axis in enumerate(self._domain.axes):
            if not axis.places:
                values = axis.snapped(point[at] + np.array(OFFSETS))
            else:
                values = np.arange(axis.places) / (max(axis.places - 1, 1) if axis.ordered else 1)
            block = np.repeat(point[None], len(values), axis=0)
            block[:, at] = values
            rows.append(block)
        return np.concatenate(rows)

    def _made(self, parents: Floats, size: int) -> Floats:
        """`parents`, best first, are drawn the oftener the better."""
        top, third = parents[:PARENTS], size // 3
        rank = np.minimum(self._rng.geometric(RANK_DECAY, size=2 * third), len(top)) - 1
        mates = top[self._rng.integers(len(top), size=third)]
        swapped = self._rng.random(mates.shape) < 0.5
        near = [self.neighbours(one) for one in top[:NEIGHBOURED]]
        return np.concatenate(
            [
                *([] if self._many else [self.random(third)]),
                self.mutants(top[rank[:third]]),
                self._at_home(np.where(swapped, top[rank[third:]], mates)),
                *(self._at_home(one) for one in near),
            ]
        )

    def _at_home(self, points: Floats) -> Floats:
        """The same knobs in this structure."""
        knobs = points[:, : len(self._domain.axes)]
        return np.concatenate([knobs, np.tile(self._home, (len(points), 1))], axis=1)

    def _new(self, points: Floats, others: Floats | None = None) -> Floats:
        """Each once, without what is known and without those of another pool."""
        taken = self._known | (set(self._names(others)) if others is not None else set())
        kept = []
        for at, name in enumerate(self._names(points)):
            if name not in taken:
                taken.add(name)
                kept.append(at)
        return points[kept]

    @staticmethod
    def _names(points: Floats) -> list[bytes]:
        return [one.tobytes() for one in np.round(points, 9) + 0.0]
