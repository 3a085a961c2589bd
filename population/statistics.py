"""From measurements to beliefs: means, pooled noise, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from population.records import Measured
from population.variant import Estimate, Status

BlockMeans = dict[str, dict[str, list[float]]]  # variant -> metric -> one mean a block


def pooled_sd(groups: Iterable[Sequence[float]]) -> float:
    """The sd within groups: sqrt(sum of (x - group mean)^2 / sum of (n - 1)).

    Groups of one tell nothing; NaN when all are such. Source: the pooled variance of one-way
    analysis of variance, e.g. Snedecor and Cochran, Statistical Methods, ch. 6.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        if len(group) > 1:
            mean = fmean(group)
            squares += sum((value - mean) ** 2 for value in group)
            freedom += len(group) - 1
    return math.sqrt(squares / freedom) if freedom else math.nan


def estimates(rows: Iterable[Measured]) -> dict[str, dict[str, Estimate]]:
    """What `ok` rows of one rung say of each variant, by metric, in order of first measurement.

    Repeats are averaged within their block first; mean and n are over blocks. The sd of the mean is
    s / sqrt(n), s pooled over all variants measured on two blocks or more (NaN when none is).
    ValueError for a number that is not finite.
    """
    means = block_means(rows)
    metrics = {metric for found in means.values() for metric in found}
    noise = {
        metric: pooled_sd(found[metric] for found in means.values() if metric in found)
        for metric in metrics
    }
    return {
        variant_id: {
            metric: Estimate(fmean(values), noise[metric] / math.sqrt(len(values)), len(values))
            for metric, values in found.items()
        }
        for variant_id, found in means.items()
    }


def noise_sd(rows: Iterable[Measured], metric: str) -> float | None:
    """The sd of one run of a variant from block to block; None while no variant has two blocks."""
    sd = pooled_sd(found[metric] for found in block_means(rows).values() if metric in found)
    return None if math.isnan(sd) else sd


def block_means(rows: Iterable[Measured]) -> BlockMeans:
    """One mean a block, for each metric of each variant, from the `ok` rows."""
    runs: dict[str, dict[str, dict[int, list[float]]]] = {}
    for row in rows:
        if row.measurement.status is not Status.OK:
            continue
        order = row.measurement.order
        by_metric = runs.setdefault(order.variant_id, {})
        for metric, value in row.measurement.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"measurement {row.id} has {metric} = {value}")
            by_metric.setdefault(metric, {}).setdefault(order.block, []).append(value)
    return {
        variant_id: {
            metric: [fmean(values) for values in blocks.values()]
            for metric, blocks in by_metric.items()
        }
        for variant_id, by_metric in runs.items()
    }
