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
ARROW = "->"


def tables_of(name: str) -> tuple[Table, Table]:
    """The table to search on and the one to judge by: `a -> b` searches a and is judged on b.

    KeyError for a table that there is not, ValueError for two that hold different spaces.
    """
    searched, arrow, judged = (one.strip() for one in name.partition(ARROW))
    first = TABLES[searched]()
    second = TABLES[judged]() if arrow else first
    if first.dials != second.dials:
        raise ValueError(f"{searched} and {judged} hold different settings")
    return first, second
