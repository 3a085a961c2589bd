"""What is believed of every variant at a rung, grown row by row: a new run costs what it changes.

The same numbers as `population.statistics.estimates` gives over all rows at once, and the same front
as `population.archive.pareto_front`; a test holds them together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import fmean

from population.archive import Constraint, Objective, pareto_front
from population.records import Measured
from population.statistics import DISQUALIFYING, pooled_sd
from population.statistics.blocks import BlockEffects, block_effects
from population.variant import Estimate, Status


class Belief:
    """One metric of all variants. Estimates are made when asked for and kept until they change."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._scores: dict[str, dict[int, float]] = {}  # variant -> block -> mean of repeats
        self._repeats: dict[tuple[str, int], list[float]] = {}  # where there are any
        self._several: dict[str, int] = {}  # on two blocks or more -> place in order of first run
        self._places: dict[str, int] = {}
        self._known: dict[str, Estimate] = {}
        self._effects, self._noise = BlockEffects(), math.nan
        self._stale = False
        self.changes = 0  # how often something moved that moves everyone

    def add(self, variant_id: str, block: int, value: float) -> None:
        """Take in one run."""
        place = self._places.setdefault(variant_id, len(self._places))
        scores = self._scores.setdefault(variant_id, {})
        if block in scores:
            runs = self._repeats.setdefault((variant_id, block), [scores[block]])
            runs.append(value)
            value = fmean(runs)
        scores[block] = value
        self._known.pop(variant_id, None)
        if len(scores) > 1:
            self._several[variant_id] = place
        # what blocks do is read from those with several, and centred on the reference's
        self._stale |= len(scores) > 1 or variant_id == self._reference

    def drop(self, variant_id: str) -> None:
        """Forget all runs of one variant."""
        for block in self._scores.pop(variant_id, {}):
            self._repeats.pop((variant_id, block), None)
        self._known.pop(variant_id, None)
        self._stale |= self._several.pop(variant_id, None) is not None

    def settle(self) -> int:
        """Make up for the rows since the last time; the number of changes so far."""
        if self._stale:
            self._stale = False
            several = self._on_several_blocks()
            effects = block_effects(several).centred_on(self._scores.get(self._reference, {}))
            pooled = pooled_sd(list(one.values()) for one in several)
            noise = effects.rest_sd if effects.established else pooled
            if effects.effects != self._effects.effects:
                self.changes += 1
            self._effects, self._noise = effects, noise
            self._known.clear()
        return self.changes

    def pooled_noise(self) -> float | None:
        """The sd of one run of a variant from block to block; None while no variant has two."""
        sd = pooled_sd(list(one.values()) for one in self._on_several_blocks())
        return None if math.isnan(sd) else sd

    def _on_several_blocks(self) -> list[dict[int, float]]:
        """In order of first run: sums of floats depend on their order."""
        ordered = sorted(self._several, key=self._several.__getitem__)
        return [self._scores[one] for one in ordered]

    def estimate(self, variant_id: str) -> Estimate | None:
        """What is believed of one variant; None without a run."""
        self.settle()
        if variant_id not in self._known and variant_id in self._scores:
            values = self._effects.taken_off(self._scores[variant_id]).values()
            sd = self._noise / math.sqrt(len(values))
            self._known[variant_id] = Estimate(fmean(values), sd, len(values))
        return self._known.get(variant_id)


class Found(Mapping[str, Estimate]):
    """One variant's estimates by metric, made as they are asked for."""

    def __init__(self, beliefs: Mapping[str, Belief], variant_id: str) -> None:
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


class RungBeliefs:
    """All metrics of a rung up to some row, and the front of it. Not thread-safe."""

    def __init__(
        self,
        seed_id: str,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        vetoed: Collection[str] = (),
    ) -> None:
        self._seed_id, self._objectives, self._constraints = seed_id, objectives, constraints
        self._vetoed = vetoed  # a member of no front
        self._beliefs: dict[str, Belief] = {}
        self._found: dict[str, Found] = {}  # in order of first measurement
        self._disqualified: set[str] = set()
        self._front: list[str] = []
        self._fresh: set[str] | None = None  # measured since the front; None: everything moved
        self._changes = 0
        self.taken = 0  # rows looked at so far
        self.last_id = 0

    def add(self, row: Measured) -> None:
        """Take in one row: an `ok` one says something, one that disqualifies takes all back.

        ValueError for a number that is not finite.
        """
        order = row.measurement.order
        if row.measurement.status in DISQUALIFYING and order.variant_id != self._seed_id:
            self._disqualify(order.variant_id)
        if row.measurement.status is not Status.OK or order.variant_id in self._disqualified:
            return
        again = order.variant_id in self._found
        for metric, value in row.measurement.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"measurement {row.id} has {metric} = {value}")
            belief = self._beliefs.setdefault(metric, Belief(self._seed_id))
            belief.add(order.variant_id, order.block, value)
        self._found.setdefault(order.variant_id, Found(self._beliefs, order.variant_id))
        if again or order.variant_id == self._seed_id:
            self._fresh = None  # a member may have become worse, so that others come back
        elif self._fresh is not None:
            self._fresh.add(order.variant_id)

    def _disqualify(self, variant_id: str) -> None:
        self._disqualified.add(variant_id)
        if self._found.pop(variant_id, None) is not None:
            for belief in self._beliefs.values():
                belief.drop(variant_id)
            self._fresh = None

    def __contains__(self, variant_id: str) -> bool:
        return variant_id in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._found)

    def found(self, variant_id: str) -> Found:
        """What is believed of one variant; KeyError without an `ok` run."""
        return self._found[variant_id]

    def noise_sd(self, metric: str) -> float | None:
        """The sd of one run of a variant from block to block; None while it is not known."""
        return self._beliefs[metric].pooled_noise() if metric in self._beliefs else None

    def front(self) -> list[str]:
        """The front, best first objective first; empty before the seed has a score."""
        if self._seed_id not in self._found:
            return []
        names = {one.name for one in self._objectives} | {one.name for one in self._constraints}
        changes = sum(self._beliefs[name].settle() for name in names if name in self._beliefs)
        if self._fresh is None or changes != self._changes:
            among = list(self._found)
        else:  # a newcomer meets the front alone: who was dominated before still is
            among = [*self._front, *self._fresh]
        if self._fresh is None or self._fresh or changes != self._changes:
            chosen = {one: self._found[one] for one in among if one not in self._vetoed}
            seed = self._found[self._seed_id]
            self._front = pareto_front(chosen, self._objectives, seed, self._constraints)
        self._fresh, self._changes = set(), changes
        return list(self._front)
