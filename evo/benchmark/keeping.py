"""Finished cells as files, and all that are missing computed at once: a kill loses only what is under way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from evo.files import write_file

Cell = TypeVar("Cell")
Result = TypeVar("Result")


def read_kept(folder: Path, key: str) -> dict[str, Any] | None:
    """What was kept under a key; None when there is nothing that can be read."""
    try:
        found = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def keep(folder: Path, key: str, values: Mapping[str, Any]) -> None:
    """Keep values under a key; a kill leaves no half of a file."""
    write_file(folder / f"{key}.json", json.dumps(values))


def play_cells(
    cells: Sequence[Cell],
    folder: Path,
    kept: Callable[[Cell, Path], Result | None],
    compute_and_keep: Callable[[Cell, Path], Result],
    workers: int,
) -> Iterator[Result]:
    """The results as they come, those of earlier processes first; `workers` processes at most."""
    from joblib import Parallel, delayed

    folder.mkdir(parents=True, exist_ok=True)
    waiting = []
    for cell in cells:
        known = kept(cell, folder)
        if known is not None:
            yield known
        else:
            waiting.append(cell)
    workers = min(workers, max(len(waiting), 1))
    if workers == 1:
        yield from (compute_and_keep(cell, folder) for cell in waiting)
        return
    with warnings.catch_warnings():  # joblib's, when an interrupted loop lets its workers go
        warnings.simplefilter("ignore", UserWarning)
        run = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        yield from run(delayed(compute_and_keep)(cell, folder) for cell in waiting)
