"""Landscapes: recorded tables of real training runs that any search can be run on in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from evo.benchmark.landscapes.hpobench import DATASETS as HPOBENCH
from evo.benchmark.landscapes.hpobench import read_hpobench
from evo.benchmark.landscapes.nb201 import DATASETS as NB201
from evo.benchmark.landscapes.nb201 import read_nb201
from evo.benchmark.landscapes.table import Table

TABLES: Mapping[str, Callable[[], Table]] = {
    **{f"nb201/{name}": partial(read_nb201, name) for name in NB201},
    **{f"hpobench/{name}": partial(read_hpobench, name) for name in HPOBENCH},
}
