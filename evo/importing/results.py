"""results.tsv as autoresearch writes it: one attempt a line. What does not parse is told with its line."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")


class ImportFailure(Exception):
    """A history cannot be imported; the message says what is wrong and what is expected."""


class Reported(StrEnum):
    """The outcome of an attempt as a results file has it."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a results file. val_bpb (bits per byte) and memory_gb are 0 for a crash."""

    line: int
    commit: str
    val_bpb: float
    memory_gb: float
    status: Reported
    description: str


@dataclass(frozen=True, slots=True)
class Results:
    """The rows that parse, in order, and one sentence for each line that does not."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]


def read_results(text: str, name: str) -> Results:
    """The rows of a results file called `name`. ImportFailure when its header is another one."""
    lines = text.removeprefix("\ufeff").splitlines()
    columns = tuple(part.strip() for part in lines[0].split("\t")) if lines else ()
    _check(columns, name)
    rows, problems = [], []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            rows.append(_row(dict(zip(columns, _cells(line, columns), strict=True)), number))
        except ValueError as error:
            problems.append(f"{name} line {number}: {error}; left out")
    return Results(tuple(rows), tuple(problems))


def _check(columns: tuple[str, ...], name: str) -> None:
    wanted = f"expected, parted by tabs: {', '.join(COLUMNS)}"
    if unknown := [one for one in columns if one not in COLUMNS]:
        raise ImportFailure(f"{name}: unknown columns: {', '.join(map(repr, unknown))}; {wanted}")
    if missing := [one for one in COLUMNS if one not in columns]:
        raise ImportFailure(f"{name}: the header lacks {', '.join(missing)}; {wanted}")
    if len(columns) != len(COLUMNS):
        raise ImportFailure(f"{name}: a column stands twice in the header; {wanted}")


def _cells(line: str, columns: tuple[str, ...]) -> list[str]:
    """As many cells as columns; a tab within the last one belongs to it."""
    cells = [one.strip() for one in line.split("\t", len(columns) - 1)]
    if len(cells) != len(columns):
        raise ValueError(f"it has {len(cells)} of {len(columns)} cells")
    return cells


def _row(cells: Mapping[str, str], number: int) -> Row:
    commit, status = cells["commit"], cells["status"].lower()
    if not _COMMIT.fullmatch(commit):
        raise ValueError(f"{commit!r} is not a commit")
    if status not in list(Reported):
        raise ValueError(f"status {status!r} is none of {', '.join(Reported)}")
    val_bpb, memory_gb = (_number(cells[name], name) for name in ("val_bpb", "memory_gb"))
    if status == Reported.CRASH:
        val_bpb = 0.0
    elif not val_bpb:
        raise ValueError(f"val_bpb is 0, as for a crash, but its status is {status}")
    words = cells["description"]
    return Row(number, commit.lower(), val_bpb, memory_gb, Reported(status), words)


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} {text!r} is not a number from 0 on")
    return value
