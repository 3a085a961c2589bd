"""From measurements to block means, and the noise pooled over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
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
    squares, freedom = list[float](), 0
    for group in groups:
        if len(group) > 1:
            mean = fmean(group)
            squares += ((value - mean) ** 2 for value in group)
            freedom += len(group) - 1
    return math.sqrt(math.fsum(squares) / freedom) if freedom else math.nan


def noise_sd(rows: Iterable[MeasurementRow], metric: str) -> float | None:
    """The sd of one run of a variant from block to block; None while no variant has two blocks."""
    means = block_means(rows)
    sd = pooled_sd(list(found[metric].values()) for found in means.values() if metric in found)
    return None if math.isnan(sd) else sd


class NoiseKind(StrEnum):
    """What makes two runs of the same code differ."""

    SEEDED = "seeded"  # the block alone
    NOISY = "noisy"  # chance that no block fixes
    BOTH = "both"
    DETERMINISTIC = "deterministic"  # nothing: more runs prove nothing


BEYOND_REPEATS = (
    2.0  # times the sd of repeats: from there on blocks differ by more than their repeats do
)


def noise_kind(rows: Iterable[MeasurementRow], metric: str) -> NoiseKind | None:
    """What the runs of one variant at one rung say; None without two blocks, or without a repeat on any."""
    by_block: dict[int, list[float]] = {}
    for row in rows:
        run = row.measurement
        if run.status is Status.OK and metric in run.metrics:
            by_block.setdefault(run.request.block, []).append(run.metrics[metric])
    blocks = list(by_block.values())
    if len(blocks) < 2 or all(len(runs) < 2 for runs in blocks):
        return None
    across, within = pooled_sd([[fmean(runs) for runs in blocks]]), pooled_sd(blocks)
    if all(len(set(runs)) == 1 for runs in blocks):
        same = len({runs[0] for runs in blocks}) == 1
        return NoiseKind.DETERMINISTIC if same else NoiseKind.SEEDED
    return NoiseKind.BOTH if across > BEYOND_REPEATS * within else NoiseKind.NOISY


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
            metric: {
                block: fmean(values) if len(values) > 1 else values[0]  # most ran once on a block
                for block, values in blocks.items()
            }
            for metric, blocks in by_metric.items()
        }
        for variant_id, by_metric in runs.items()
    }
