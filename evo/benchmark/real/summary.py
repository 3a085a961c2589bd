"""What the cells on real training say: differences to the seed with intervals, and no ranking of few seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from evo.benchmark.contestants import OURS, versions, versions_told
from evo.benchmark.keeping import play_cells
from evo.benchmark.real.cells import (
    YARDSTICK,
    RealCell,
    RealResult,
    compute_and_keep_real,
    kept_real,
    slots_of,
)
from evo.benchmark.real.settings import RealConfig
from population.statistics.distributions import CONFIDENCE, t_quantile


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds with its 95 % interval (t); the ends are NaN for one seed."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RealStanding:
    """One contestant. `difference`: recommended less seed; `minus`: ours less it by seed, in bits per byte."""

    contestant: str
    difference: Mean
    by_seed: tuple[float, ...]
    optimism: float  # true less reported, the mean over seeds
    minus: Mean | None
    runs: float
    failed: float


def play_real(
    config: RealConfig, cells: Sequence[RealCell], folder: Path, workers: int | None = None
) -> Iterator[RealResult]:
    """The results as they come, those of earlier processes first. One process a slot by default."""
    able = slots_of(config)
    workers = min(workers or able, able)
    return play_cells(cells, folder, kept_real, compute_and_keep_real, workers)


def real_standings(results: Sequence[RealResult], names: Sequence[str]) -> list[RealStanding]:
    """All contestants in the order in which they were named, a yardstick last: few seeds rank nobody."""
    names = [*names, YARDSTICK]
    by_name: dict[str, dict[int, RealResult]] = {}
    for one in sorted(results, key=lambda one: (names.index(one.cell.contestant), one.cell.seed)):
        by_name.setdefault(one.cell.contestant, {})[one.cell.seed] = one
    ours = next((one for one in names if one in OURS), "")
    mine = by_name.get(ours, {})
    table = []
    for name, found in by_name.items():
        both = [] if name == ours else sorted(found.keys() & mine.keys())
        gaps = [mine[seed].difference - found[seed].difference for seed in both]
        every = list(found.values())
        table.append(
            RealStanding(
                name,
                mean_of([one.difference for one in every]),
                tuple(one.difference for one in every),
                fmean(one.difference - one.reported for one in every),
                mean_of(gaps) if gaps else None,
                fmean(one.runs for one in every),
                fmean(one.failed for one in every),
            )
        )
    return table


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of these with the t interval of as many."""
    n, mean = len(values), fmean(values)
    if n < 2:
        return Mean(mean, math.nan, math.nan)
    half = t_quantile(n - 1, CONFIDENCE) * stdev(values) / math.sqrt(n)
    return Mean(mean, mean - half, mean + half)


COLUMNS = (
    "contestant",
    "less the seed",
    "each seed",
    "optimism",
    "ours less it",
    "runs",
    "failed",
)


def real_headline(results: Sequence[RealResult]) -> str:
    """How much may be read out of this number of seeds."""
    seeds = len({one.cell.seed for one in results})
    return (
        f"Real training, {seeds} seeds a contestant: intervals, and no ranking claimed from them."
    )


def real_legend(config: RealConfig) -> str:
    """What the columns mean."""
    return (
        f"val_bpb of what each recommends after {config.seconds:g} seconds (of the CPU in training where "
        "that is the clock, else of the slot), final race included, less the "
        f"seed's on the same {config.judged_blocks} fresh blocks; below 0 is better. Brackets: 95 % intervals "
        "over seeds. Optimism: that less the gain it believed in. Contestants stand in the order of the file. "
        f"{versions_told()}"
    )


def real_row(one: RealStanding) -> list[str]:
    """A contestant's row of COLUMNS."""
    return [
        one.contestant,
        _told(one.difference),
        ", ".join(f"{value:+.4f}" for value in one.by_seed),
        "" if math.isnan(one.optimism) else f"{one.optimism:+.4f}",
        "" if one.minus is None else _told(one.minus),
        f"{one.runs:.0f}",
        f"{one.failed:.1f}",
    ]


def real_markdown(config: RealConfig, results: Sequence[RealResult]) -> str:
    """The table in Markdown, with what its columns mean."""
    rows = [real_row(one) for one in real_standings(results, config.contestants)]
    parts = [
        f"**{real_headline(results)}**",
        "",
        real_legend(config),
        "",
        *(f"| {' | '.join(line)} |" for line in [COLUMNS, ["---"] * len(COLUMNS), *rows]),
        "",
    ]
    return "\n".join(parts)


def real_values(config: RealConfig, results: Sequence[RealResult]) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "config": config.model_dump(mode="json"),
        "versions": versions(),
        "standings": [asdict(one) for one in real_standings(results, config.contestants)],
        "cells": [asdict(one) for one in results],
    }


def _told(one: Mean) -> str:
    if math.isnan(one.low):
        return f"{one.value:+.4f}"
    return f"{one.value:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"
