"""What choosing the luckiest added: the gain that the search saw, against that on fresh blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evo.analysis.comparison import MIN_PAIRS, Comparison, Noise, block_values, paired_differences
from population.records import MeasurementRow
from population.statistics.race import SelectionBias, selection_bias
from population.variant import Estimate, Purpose


def selection_bias_of(
    rows: Sequence[MeasurementRow],
    search: Comparison | None,
    final: Comparison | None,
    level: Noise | None,
) -> SelectionBias | None:
    """Gains over the seed, above 0 is better: in the search and in final runs, on the same hidden text.

    A difference of means over n blocks has sd sqrt(2 / n) x that of one run. None without both, and below
    MIN_PAIRS final pairs.
    """
    if search is None or final is None or final.n < MIN_PAIRS:
        return None
    values = block_values(rows, final.rung, final.metric, {Purpose.FINAL, Purpose.POST})
    pair = (values.get(one, {}) for one in (final.variant_id, final.reference_id))
    sign = -1.0 if final.lower_is_better else 1.0
    gains = [sign * difference for difference in paired_differences(*pair).values()]
    sd = math.nan if level is None else level.sd * math.sqrt(2 / search.n)
    return selection_bias(Estimate(search.gain, sd, search.n), gains)
