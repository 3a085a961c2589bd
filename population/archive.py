"""The archive: which variants form the Pareto front, under objectives and constraints."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from population.metrics import METRICS
from population.types import Estimate

REPLICATED_BLOCKS = 4
_RELATIVE = re.compile(r"seed\s*[x*]\s*(\d+(?:\.\d*)?|\.\d+)")

Found = Mapping[str, Estimate]  # what is believed of one variant, by metric


class Direction(StrEnum):
    """Which way is better."""

    MINIMISE = "minimise"
    MAXIMISE = "maximise"

    @classmethod
    def _missing_(cls, value: object) -> Direction | None:
        """The same in other words."""
        said = value.strip().lower() if isinstance(value, str) else ""
        return next((way for way, words in _SAME.items() if said in words), None)


_SAME = {
    Direction.MINIMISE: {"minimise", "minimize", "min", "lower"},
    Direction.MAXIMISE: {"maximise", "maximize", "max", "higher"},
}


class Standing(StrEnum):
    """How well a front member's place is established."""

    CANDIDATE = "candidate"
    REPLICATED = "replicated"  # measured on at least four blocks
    CERTIFIED = "certified"  # proven better than the seed or the champion before it on fresh blocks


def _readable_limit(limit: float | str | None) -> float | str | None:
    """A limit that is finite, or a multiple of the seed's value in words. ValueError."""
    if isinstance(limit, str) and not _RELATIVE.fullmatch(limit.strip()):
        raise ValueError(f"{limit!r} is neither a number nor of the form 'seed x 1.02'")
    if isinstance(limit, float) and not math.isfinite(limit):
        raise ValueError("must be a finite number")
    return limit


def _limit(limit: float | str, name: str, seed: Found) -> float:
    """A limit of a metric as a number."""
    if not isinstance(limit, str):
        return limit
    relative = _RELATIVE.fullmatch(limit.strip())
    assert relative, "checked when the settings were read"
    return seed[name].mean * float(relative[1])


def _bound_in_words(bound: float | str, name: str, seed: Found | None) -> str:
    if not isinstance(bound, str) or seed is None or name not in seed:
        return bound if isinstance(bound, str) else f"{bound:,.6g}"
    return f"{_limit(bound, name, seed):,.6g} ({bound})"


class Objective(BaseModel):
    """One thing to improve. Beyond `limit` a variant is neither parent nor front member."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="metric, e.g. val_bpb")
    direction: Direction = Direction.MINIMISE
    epsilon: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="counts as different"
    )
    limit: float | str | None = Field(
        default=None, description="worst value allowed: a number or `seed x FACTOR`"
    )

    @model_validator(mode="before")
    @classmethod
    def _way_of_the_metric(cls, given: Any) -> Any:
        """Without a direction that is the metric's own."""
        if isinstance(given, dict) and "direction" not in given:
            row = METRICS.get(str(given.get("name")))
            if row is not None and not row.lower_is_better:
                return {**given, "direction": Direction.MAXIMISE}
        return given

    _readable = field_validator("limit")(_readable_limit)

    def to_minimise(self, found: Found) -> float:
        """The believed value, with its sign flipped when higher is better. KeyError without one."""
        return self.turned(found[self.name].mean)

    def admits(self, found: Found, seed: Found) -> bool:
        """Whether a finite value is known and it is not beyond `limit`."""
        if self.name not in found or not math.isfinite(found[self.name].mean):
            return False
        return self.to_minimise(found) <= self.worst(seed)

    def worst(self, seed: Found) -> float:
        """The worst value that `limit` allows, as something to minimise; NaN where the seed has to say it."""
        if self.limit is None:
            return math.inf
        if isinstance(self.limit, str) and self.name not in seed:
            return math.nan
        return self.turned(_limit(self.limit, self.name, seed))

    def limit_as_constraint(self) -> Constraint | None:
        """`limit` as the range that it is; None without one."""
        if self.limit is None:
            return None
        end = "at_most" if self.lower_is_better else "at_least"
        return Constraint(name=self.name, **{end: self.limit})

    @property
    def in_words(self) -> str:
        """Its name, and which way is better."""
        return f"{self.name} ({'lower' if self.lower_is_better else 'higher'} is better)"

    @property
    def lower_is_better(self) -> bool:
        """Nowhere else is a direction asked for."""
        return self.direction is Direction.MINIMISE

    @property
    def sign(self) -> float:
        """What a value is multiplied by to be something to minimise: 1 or -1."""
        return 1.0 if self.lower_is_better else -1.0

    def turned(self, value: float) -> float:
        """A value of this metric as something to minimise."""
        return self.sign * value


class Constraint(BaseModel):
    """A range a metric has to stay in: each end a number, or a multiple of the seed's value (`seed x 1.1`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    at_least: float | str | None = None
    at_most: float | str | None = None

    _readable = field_validator("at_least", "at_most")(_readable_limit)

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"the constraint on {self.name} needs at_least or at_most")
        low, high = self.at_least, self.at_most
        if isinstance(low, float) and isinstance(high, float) and low > high:
            raise ValueError(f"the constraint on {self.name} leaves no room")
        return self

    def told(self, seed: Found | None = None) -> str:
        """The range in words, with the numbers that multiples of the seed's value come to where it is known."""
        ends = [("at least", self.at_least), ("at most", self.at_most)]
        return f"{self.name} " + " and ".join(
            f"{word} {_bound_in_words(bound, self.name, seed)}"
            for word, bound in ends
            if bound is not None
        )

    def beside_seed(self) -> Constraint | None:
        """The same with its multiples of the seed's value alone, which hold at every rung; None without any."""
        ends = {"at_least": self.at_least, "at_most": self.at_most}
        relative = {key: bound for key, bound in ends.items() if isinstance(bound, str)}
        return Constraint(name=self.name, **relative) if relative else None

    def excess(self, found: Found, seed: Found) -> float:
        """How far outside, as a share of the bound; 0 inside, infinite without the metric."""
        if self.name not in found or not math.isfinite(found[self.name].mean):
            return math.inf
        value = found[self.name].mean
        over = 0.0
        for bound, sign in ((self.at_least, -1.0), (self.at_most, 1.0)):
            if bound is not None:
                limit = _limit(bound, self.name, seed)
                over = max(over, sign * (value - limit) / (abs(limit) or 1.0))
        return over


VAL_BPB = Objective(name="val_bpb", epsilon=0.001, limit="seed x 1.02")
DEFAULT_OBJECTIVES = (VAL_BPB, Objective(name="parameters"), Objective(name="added_nodes"))


def admissible(found: Found, objectives: Sequence[Objective], seed: Found) -> bool:
    """Whether every objective has a finite value, none beyond its `limit`."""
    return all(objective.admits(found, seed) for objective in objectives)


def broken_limits(
    found: Found, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: Found
) -> list[Constraint]:
    """The ranges a variant is outside of, limits of objectives among them."""
    limits = [*constraints, *filter(None, (one.limit_as_constraint() for one in objectives))]
    return [
        one
        for one in limits
        if (one.name in seed or one.beside_seed() is None) and one.excess(found, seed) > 0
    ]


def violation(found: Found, constraints: Sequence[Constraint], seed: Found) -> float:
    """How far a variant breaks the constraints: the sum of their excesses, 0 when feasible."""
    return sum(constraint.excess(found, seed) for constraint in constraints)


def pareto_front(
    estimates: Mapping[str, Found],
    objectives: Sequence[Objective],
    seed_estimates: Found,
    constraints: Sequence[Constraint] = (),
) -> list[str]:
    """The ids of the front, best first objective first; whatever the order they come in.

    Values are compared by boxes (Laumanns et al. 2002, epsilon-Pareto archives): of several in
    one box on all objectives the one with the better first objective stays. Feasible beats
    infeasible; when nothing is feasible, the least violation wins.
    """
    return front_among(points_of(estimates, objectives, seed_estimates, constraints))


Values = tuple[float, ...]
Point = tuple[
    float, Values, Values
]  # how far it breaks the constraints; what is to be minimised; its box


def points_of(
    estimates: Mapping[str, Found],
    objectives: Sequence[Objective],
    seed_estimates: Found,
    constraints: Sequence[Constraint] = (),
) -> dict[str, Point]:
    """Where variants stand; none for those that are not admissible."""
    columns = [(one.name, one.sign, one.worst(seed_estimates)) for one in objectives]
    points = dict[str, Point]()
    for id, found in estimates.items():
        means = [found[name].mean if name in found else math.nan for name, _, _ in columns]
        values = tuple(sign * mean for mean, (_, sign, _) in zip(means, columns, strict=True))
        if all(map(math.isfinite, values)) and all(
            one <= worst for one, (_, _, worst) in zip(values, columns, strict=True)
        ):
            broken = violation(found, constraints, seed_estimates)
            points[id] = broken, values, _box(values, objectives)
    return points


def is_behind(one: Point, other: Point) -> bool:
    """Whether `other` keeps `one` off the front, or would if it was not itself."""
    if one[0] != other[0]:
        return other[0] < one[0]
    return all(theirs <= own for theirs, own in zip(other[2], one[2], strict=True))


def front_among(points: Mapping[str, Point]) -> list[str]:
    """The front of variants that stand there; as `pareto_front`."""
    least = min((broken for broken, _, _ in points.values()), default=0.0)
    able = [(values, id, box) for id, (broken, values, box) in points.items() if broken == least]
    best_in_box: dict[Values, str] = {}
    for _, id, box in sorted(able):
        best_in_box.setdefault(box, id)
    if not best_in_box:
        return []
    import moocore  # here, because settings are read by commands that compute no front

    stays = moocore.is_nondominated(np.array(list(best_in_box), dtype=float))
    return [id for id, keep in zip(best_in_box.values(), stays, strict=True) if keep]


def nearest(
    estimates: Mapping[str, Found],
    objectives: Sequence[Objective],
    seed_estimates: Found,
    constraints: Sequence[Constraint],
    most: int,
) -> list[str]:
    """`most` ids, or twice the front's: the front, what would be it without those, and on; feasible ones first.

    A variant beyond a limit, or without a finite value, comes last.
    """
    broken, values = dict[str, float](), dict[str, tuple[float, ...]]()
    for id, found in estimates.items():
        means = [found[one.name].mean if one.name in found else math.inf for one in objectives]
        fits = admissible(found, objectives, seed_estimates)
        broken[id] = violation(found, constraints, seed_estimates) if fits else math.inf
        values[id] = tuple(one.turned(mean) for one, mean in zip(objectives, means, strict=True))
    if not values:
        return []
    import moocore  # here, as above

    points = np.nan_to_num(np.array(list(values.values()), dtype=float), nan=math.inf)
    layers = dict(zip(values, moocore.pareto_rank(points).tolist(), strict=True))
    order = sorted(values, key=lambda id: (broken[id], layers[id], values[id], id))
    best = order[0]
    front = sum(layers[id] == layers[best] and broken[id] == broken[best] for id in order)
    return order[: max(most, 2 * front)]


def standings(
    front: Sequence[str], n_blocks: Mapping[str, int], certified: Collection[str] = ()
) -> dict[str, Standing]:
    """Each front member's standing: proven, else by the number of blocks it was measured on."""

    def standing(id: str) -> Standing:
        if id in certified:
            return Standing.CERTIFIED
        many = n_blocks.get(id, 0) >= REPLICATED_BLOCKS
        return Standing.REPLICATED if many else Standing.CANDIDATE

    return {id: standing(id) for id in front}


def _box(values: Values, objectives: Sequence[Objective]) -> Values:
    return tuple(
        float(np.floor(value / objective.epsilon)) if objective.epsilon else value
        for value, objective in zip(values, objectives, strict=True)
    )
