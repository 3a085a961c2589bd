"""NAS-Bench-201 (Dong and Yang 2020): 15,625 convolutional cells, trained with two or three seeds each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from evo.benchmark.landscapes.package import columns, read_rows
from evo.benchmark.landscapes.shrinking import shrunken_sd
from evo.benchmark.landscapes.table import ERROR, Table, dials_of

DATASETS = ("cifar10", "cifar100", "imagenet")  # the last is ImageNet16-120


@lru_cache(maxsize=len(DATASETS))
def read_nb201(dataset: str) -> Table:
    """Error in percentage points, size in millions of parameters, latency in milliseconds."""
    choices, rows = read_rows("NASBench201", dataset)
    dials = dials_of(choices)
    sizes = [len(dial.choices) for dial in dials]
    errors = 100.0 - columns(rows, sizes, "val_acc")
    means = {
        ERROR: np.nanmean(errors, axis=1),
        "size": np.nanmean(columns(rows, sizes, "model_size"), axis=1),
        "latency": 1000 * np.nanmean(columns(rows, sizes, "latency"), axis=1),
    }
    seconds = np.nanmean(columns(rows, sizes, "train_time"), axis=1)
    return Table(f"nb201/{dataset}", dials, means, errors, shrunken_sd(errors), seconds)
