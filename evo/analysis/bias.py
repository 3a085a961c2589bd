"""What choosing the luckiest added: the gain that the search saw, against fresh runs on fresh text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evo.analysis.comparison import Comparison, Noise, block_values, paired_differences
from population.archive import Objective
from population.records import Measured
from population.statistics.race import SelectionBias, selection_bias
from population.variant import Estimate, Purpose


def selection_bias_of(
    rows: Sequence[Measured], search: Comparison | None, level: Noise | None, test: Objective
) -> SelectionBias | None:
    """Gains over the seed, above 0 is better: in the search on `val`, in final runs on `test`.

    A difference of means over n blocks has sd sqrt(2 / n) x that of one run. None without both.
    """
    if search is None:
        return None
    pair = (search.variant_id, search.reference_id)
    values = block_values(rows, search.rung, test.name, {Purpose.FINAL, Purpose.POST})
    fresh = paired_differences(*(values.get(one, {}) for one in pair))
    sd = math.nan if level is None else level.sd * math.sqrt(2 / search.n)
    claimed = Estimate(-search.difference, sd, search.n)
    return selection_bias(claimed, [-difference for difference in fresh.values()])
