"""From measurements to block means, and the noise pooled over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from population.types import MeasurementRow, Status

DISQUALIFYING = frozenset({Status.CHEATED, Status.REJECTED})  # on any block: no score of it counts
MeansByBlock = dict[
    str, dict[str, dict[int, float]]
]  # variant -> metric -> block -> mean of repeats


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


def noise_sd(rows: Iterable[MeasurementRow], metric: str) -> float | None:
    """The sd of one run of a variant from block to block; None while no variant has two blocks."""
    means = block_means(rows)
    sd = pooled_sd(list(found[metric].values()) for found in means.values() if metric in found)
    return None if math.isnan(sd) else sd


def block_means(rows: Iterable[MeasurementRow], reference: str | None = None) -> MeansByBlock:
    """One mean a block, for each metric of each variant, from the `ok` rows of those not disqualified."""
    runs: dict[str, dict[str, dict[int, list[float]]]] = {}
    rows = list(rows)
    disqualified = {
        row.measurement.request.variant_id
        for row in rows
        if row.measurement.status in DISQUALIFYING
    } - {reference}
    for row in rows:
        request = row.measurement.request
        if row.measurement.status is not Status.OK or request.variant_id in disqualified:
            continue
        by_metric = runs.setdefault(request.variant_id, {})
        for metric, value in row.measurement.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"measurement {row.id} has {metric} = {value}")
            by_metric.setdefault(metric, {}).setdefault(request.block, []).append(value)
    return {
        variant_id: {
            metric: {block: fmean(values) for block, values in blocks.items()}
            for metric, blocks in by_metric.items()
        }
        for variant_id, by_metric in runs.items()
    }
