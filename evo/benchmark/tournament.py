"""All cells at once over all cores: kept as they finish, resumed where an earlier process stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evo.benchmark.asking import make_record
from evo.benchmark.cells import Cell, Result, compute_and_keep, digest_of, kept
from evo.benchmark.contestants import ASKING, SETTABLE
from evo.benchmark.keeping import play_cells
from evo.benchmark.landscapes import tables_of
from evo.benchmark.landscapes.table import ERROR
from evo.benchmark.settings import BenchConfig


def cells_of(config: BenchConfig) -> list[Cell]:
    """Every cell, seed after seed, so that whatever is interrupted is balanced."""
    digests = {name: digest_of(name) for name in config.contestants}
    differs = config.ours.model_dump_json(exclude_defaults=True)
    changed = "" if differs == "{}" else differs
    asking = config.asking.model_dump_json(exclude_defaults=True) if config.asking else ""
    return [
        Cell(
            landscape,
            contestant,
            config.first_seed + seed,
            config.runs,
            config.most_runs,
            config.noise,
            config.race_share,
            config.leaders,
            config.objectives,
            digests[contestant],
            changed if contestant in SETTABLE else "",
            asking if contestant in ASKING else "",
            config.equal_seconds,
        )
        for seed in range(config.seeds)
        for landscape in config.landscapes
        for contestant in config.contestants
    ]


def play(cells: list[Cell], folder: Path, workers: int | None = None) -> Iterator[Result]:
    """The results as they come, those of earlier processes first. One process a core by default."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(one.asking for one in cells):
        make_record(folder)
    return play_cells(cells, folder, kept, compute_and_keep, workers or os.cpu_count() or 1)


def scale_of(landscape: str, objectives: tuple[str, ...]) -> float:
    """What regrets are divided by to be averaged: that of the median setting, or all of the volume."""
    if len(objectives) > 1:
        return 100.0
    errors = tables_of(landscape)[1].means[ERROR]
    return float(np.median(errors) - errors.min())
