"""Means over blocks, grown row by row: a new run costs what it changes.

The same numbers as `population.statistics.estimates` gives over all rows at once; a test holds them together.
"""

from __future__ import annotations

import math
from statistics import fmean

from population.statistics import pooled_sd
from population.statistics.blocks import BlockEffects, block_effects
from population.variant import Estimate


class BlockMeans:
    """What the runs of all variants average to in one metric, with what blocks do taken off.

    Estimates are made when asked for and kept until they change.
    """

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
            if effects.effects != self._effects.effects or repr(noise) != repr(self._noise):
                self.changes += 1
            self._effects, self._noise = effects, noise
            self._known.clear()
        return self.changes

    @property
    def noise(self) -> float:
        """The sd of one run less its block's effect; NaN while nobody was on two blocks."""
        self.settle()
        return self._noise

    def __contains__(self, variant_id: str) -> bool:
        return variant_id in self._scores

    def pooled_noise(self) -> float | None:
        """The sd of one run of a variant from block to block; None while no variant has two."""
        sd = pooled_sd(list(one.values()) for one in self._on_several_blocks())
        return None if math.isnan(sd) else sd

    def _on_several_blocks(self) -> list[dict[int, float]]:
        """In order of first run: sums of floats depend on their order."""
        ordered = sorted(self._several, key=self._several.__getitem__)
        return [self._scores[one] for one in ordered]

    def estimate(self, variant_id: str) -> Estimate | None:
        """The mean of one variant's blocks; None without a run."""
        self.settle()
        if variant_id not in self._known and variant_id in self._scores:
            values = self._effects.taken_off(self._scores[variant_id]).values()
            sd = self._noise / math.sqrt(len(values))
            self._known[variant_id] = Estimate(fmean(values), sd, len(values))
        return self._known.get(variant_id)
