"""All cells at once over all cores: kept as they finish, taken up again where an earlier process stopped."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evo.benchmark.asking import make_record
from evo.benchmark.cells import SETTABLE, Cell, Result, compute_and_keep, digest_of, kept
from evo.benchmark.contestants import ASKING
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
        )
        for seed in range(config.seeds)
        for landscape in config.landscapes
        for contestant in config.contestants
    ]


def play(cells: list[Cell], folder: Path, workers: int | None = None) -> Iterator[Result]:
    """The results as they come, those of earlier processes first. One process a core by default."""
    from joblib import Parallel, delayed

    folder.mkdir(parents=True, exist_ok=True)
    if any(one.asking for one in cells):
        make_record(folder)
    waiting = []
    for cell in cells:
        known = kept(cell, folder)
        if known is not None:
            yield known
        else:
            waiting.append(cell)
    workers = min(workers or os.cpu_count() or 1, max(len(waiting), 1))
    if workers == 1:
        yield from (compute_and_keep(cell, folder) for cell in waiting)
        return
    with warnings.catch_warnings():  # joblib's, when an interrupted loop lets its workers go
        warnings.simplefilter("ignore", UserWarning)
        run = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        yield from run(delayed(compute_and_keep)(cell, folder) for cell in waiting)


def scale_of(landscape: str, objectives: tuple[str, ...]) -> float:
    """What regrets are divided by to be averaged: that of the median setting, or all of the volume."""
    if len(objectives) > 1:
        return 100.0
    errors = tables_of(landscape)[1].means[ERROR]
    return float(np.median(errors) - errors.min())
