"""Judging several objectives: the hypervolume that the recommended set truly covers.

The reference point is fixed before anything runs: in the error the seed's true value and three sds of its run,
in every other objective the largest value of the table. Volumes are shares of what the table's front covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from evo.benchmark.landscapes.table import ERROR, Landscape, Setting

SDS = 3.0


def nondominated(values: np.ndarray) -> list[int]:
    """Places of the rows that no other dominates, [points, objectives]; lower is better."""
    import moocore

    return [int(one) for one in np.flatnonzero(moocore.is_nondominated(values))]


class Volumes:
    """Shares of the best hypervolume that sets on one landscape cover."""

    def __init__(self, landscape: Landscape) -> None:
        table = landscape.table
        self._landscape = landscape
        self._true = np.column_stack([table.means[one] for one in landscape.objectives])
        self._least, reference = self._true.min(axis=0), self._true.max(axis=0)
        start = table.place(landscape.start)
        at = landscape.objectives.index(ERROR)
        reference[at] = self._true[start, at] + SDS * table.sd[start]
        self._span = reference - self._least

    def share(self, values: Sequence[Sequence[float]]) -> float:
        """The share that these values cover; reported ones may cover more than there is."""
        return self._volume(np.asarray(values, dtype=float)) / self._whole

    def missing(self, settings: Sequence[Setting]) -> float:
        """Percent of the best hypervolume that the true values of these settings leave uncovered."""
        return 100.0 * (1.0 - self.share([self._landscape.truth(one) for one in settings]))

    @cached_property
    def _whole(self) -> float:
        return self._volume(self._true[nondominated(self._true)])

    def _volume(self, values: np.ndarray) -> float:
        import moocore

        return float(
            moocore.hypervolume((values - self._least) / self._span, ref=np.ones(values.shape[1]))
        )
