"""Means over blocks from all rows at once: what beliefs that grow row by row have to agree with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from population.statistics import block_means, pooled_sd
from population.statistics.blocks import BlockEffects, block_effects
from population.types import Estimate, MeasurementRow


def estimates(
    rows: Iterable[MeasurementRow], reference: str | None = None
) -> dict[str, dict[str, Estimate]]:
    """What `ok` rows of one rung say of each variant, by metric, in order of first measurement.

    Repeats are averaged within their block first; mean and n are over blocks. With a `reference`
    what blocks do to everyone is taken off (see `blocks`), so that variants on different blocks are
    compared as if all had run on the reference's. The sd of the mean is s / sqrt(n), s of one run,
    pooled over all variants measured on two blocks or more (NaN when none is). A variant with a
    disqualifying row is left out, unless it is the reference.
    ValueError for a number that is not finite.
    """
    means = block_means(rows, reference)
    found: dict[str, dict[str, Estimate]] = {variant_id: {} for variant_id in means}
    for metric in dict.fromkeys(metric for metrics in means.values() for metric in metrics):
        scores = {id: metrics[metric] for id, metrics in means.items() if metric in metrics}
        effects = BlockEffects() if reference is None else block_effects(scores.values())
        effects = effects.centred_on(scores.get(reference or "", {}))
        noise = effects.rest_sd if effects.noise_is_known else pooled_sd(_values(scores))
        for variant_id, by_block in scores.items():
            values = effects.taken_off(by_block).values()
            sd = noise / math.sqrt(len(values))
            found[variant_id][metric] = Estimate(fmean(values), sd, len(values))
    return found


def _values(scores: dict[str, dict[int, float]]) -> list[list[float]]:
    return [list(by_block.values()) for by_block in scores.values()]
