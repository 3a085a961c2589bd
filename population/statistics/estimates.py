"""From measurements to beliefs: means, pooled noise, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from population.records import Measured
from population.statistics.control import control, without_block_effects
from population.variant import Estimate, Status

BlockMeans = dict[str, dict[str, dict[int, float]]]  # variant -> metric -> block -> mean of repeats


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


def estimates(
    rows: Iterable[Measured], reference: str | None = None
) -> dict[str, dict[str, Estimate]]:
    """What `ok` rows of one rung say of each variant, by metric, in order of first measurement.

    Repeats are averaged within their block first; mean and n are over blocks. What a block did to
    the `reference` variant is taken off with an estimated coefficient (see `control`), 0 while no
    correlation is established: variants measured on different blocks become comparable. The sd of
    the mean is s / sqrt(n), s pooled over all variants measured on two blocks or more (NaN when
    none is). ValueError for a number that is not finite.
    """
    raw = block_means(rows)
    adjusted = _without_block_effects(raw, reference)
    found: dict[str, dict[str, Estimate]] = {variant_id: {} for variant_id in raw}
    for metric in dict.fromkeys(metric for metrics in raw.values() for metric in metrics):
        noise = _run_sd(raw, adjusted, metric, reference)
        for variant_id, metrics in adjusted.items():
            if metric in metrics:
                values = metrics[metric].values()
                sd = noise / math.sqrt(len(values))
                found[variant_id][metric] = Estimate(fmean(values), sd, len(values))
    return found


def noise_sd(rows: Iterable[Measured], metric: str) -> float | None:
    """The sd of one run of a variant from block to block; None while no variant has two blocks."""
    means = block_means(rows)
    sd = pooled_sd(list(found[metric].values()) for found in means.values() if metric in found)
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
            metric: {block: fmean(values) for block, values in blocks.items()}
            for metric, blocks in by_metric.items()
        }
        for variant_id, by_metric in runs.items()
    }


def _without_block_effects(means: BlockMeans, reference: str | None) -> BlockMeans:
    """Each block mean less what its block is established to do to everyone, by metric."""
    known = means.get(reference or "", {})
    coefficients = {
        metric: control(
            blocks, (found.get(metric, {}) for id, found in means.items() if id != reference)
        ).coefficient
        for metric, blocks in known.items()
    }
    return {
        variant_id: {
            metric: without_block_effects(
                blocks, known.get(metric, {}), coefficients.get(metric, 0.0)
            )
            for metric, blocks in metrics.items()
        }
        for variant_id, metrics in means.items()
    }


def _run_sd(raw: BlockMeans, adjusted: BlockMeans, metric: str, reference: str | None) -> float:
    """The sd of one adjusted run, pooled. Where block effects were taken off, the reference says
    nothing about what they leave.
    """
    touched = reference in raw and raw[reference].get(metric) != adjusted[reference].get(metric)
    return pooled_sd(
        [
            list(metrics[metric].values())
            for variant_id, metrics in adjusted.items()
            if metric in metrics and not (touched and variant_id == reference)
        ]
    )
