"""HPOBench's multilayer perceptrons (Eggensperger et al. 2021): 30,000 settings with five seeds each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from evo.benchmark.landscapes.package import columns, read_rows
from evo.benchmark.landscapes.shrinking import shrunken_sd
from evo.benchmark.landscapes.table import ERROR, Table, dials_of

TUNED_ON = ("australian", "car", "kc1", "segment")
KEPT_BACK = ("blood_transfusion", "credit_g", "phoneme", "vehicle")
DATASETS = TUNED_ON + KEPT_BACK


@lru_cache(maxsize=len(DATASETS))
def read_hpobench(dataset: str) -> Table:
    """Error in percentage points; no second objective but the training seconds themselves."""
    choices, rows = read_rows("HPOBench", dataset)
    dials = dials_of(choices)
    sizes = [len(dial.choices) for dial in dials]
    errors = 100.0 * (1.0 - columns(rows, sizes, "val_acc"))
    seconds = np.nanmean(columns(rows, sizes, "train_time"), axis=1)
    means = {ERROR: np.nanmean(errors, axis=1), "seconds": seconds}
    return Table(f"hpobench/{dataset}", dials, means, errors, shrunken_sd(errors), seconds)
