"""The edits on the way from an ancestor to a variant, each with the effect that it was measured to have."""

from __future__ import annotations

import itertools
import math
from statistics import fmean

from operators.operator import Tried
from population.lineage import Lineage
from population.reading import first_proposal
from population.run_history import RunHistory
from population.statistics import block_means
from population.store import Store
from population.variant import Status


class Lines:
    """Reads lines of descent at a rung; what it says depends on rows up to `as_of` alone."""

    def __init__(self, tally: RunHistory, lineage: Lineage, rung: str) -> None:
        self._tally, self._lineage, self._rung = tally, lineage, rung

    def edits(
        self, store: Store, ancestor: str, variant_id: str, as_of: int | None
    ) -> tuple[Tried, ...]:
        """Each step from the ancestor to the variant, the oldest first; () for the ancestor itself."""
        way = self._lineage.way(ancestor, variant_id)
        return tuple(
            self._edit(store, before, after, as_of) for before, after in itertools.pairwise(way)
        )

    def _edit(self, store: Store, before: str, after: str, as_of: int | None) -> Tried:
        made = first_proposal(store, after)
        idea, operator = (made.idea, made.operator) if made is not None else ("", "")
        rows = self._tally.rows(self._rung, as_of, variant_id=after)
        scored = any(row.measurement.status is Status.OK for row in rows)
        ended = rows[-1].measurement.status.value if rows else "not measured"
        effect = self._effect(before, after, as_of)
        return Tried(idea, operator, Status.OK.value if scored else ended, *effect)

    def _effect(
        self, before: str, after: str, as_of: int | None
    ) -> tuple[float | None, float | None, int]:
        """After minus before in the first objective over the blocks that both ran on, its SE, and n.

        The SE of n paired differences is sd x sqrt(2 / n), sd that of one run pooled over all variants: the
        spread of two or three differences says little. Where blocks move everyone it is on the safe side.
        """
        new, old = (self._by_block(one, as_of) for one in (after, before))
        both = sorted(new.keys() & old.keys())
        if not both:
            return None, None, 0
        sd = self._tally.noise_sd(self._rung, self._tally.objectives[0].name, as_of)
        se = None if sd is None else sd * math.sqrt(2 / len(both))
        return fmean(new[block] - old[block] for block in both), se, len(both)

    def _by_block(self, variant_id: str, as_of: int | None) -> dict[int, float]:
        rows = self._tally.rows(self._rung, as_of, variant_id=variant_id)
        metrics = block_means(rows).get(variant_id, {})
        return dict(metrics.get(self._tally.objectives[0].name, {}))
