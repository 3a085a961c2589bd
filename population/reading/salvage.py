"""What can still be read of a damaged store, copied row by row into a new one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from population.store import Store, StoreError
from population.types import variant_id

NOT_COPIED = ("about", "runs")  # what every store has, and what was in flight
GAP = 2000  # ids tried one by one beyond the last that could be read
LEAST_BYTES = 8  # of a row in its file
DAMAGED = (sqlite3.Error, UnicodeDecodeError)  # the second: SQLite's sentence names what is damaged
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Rows of one table: copied, read but useless without others, and ids seen to be unreadable."""

    table: str
    rows: int
    orphans: int
    unreadable: int


def salvage(damaged: Path, copy: Path, orphans: Path) -> list[Salvaged]:
    """Copy what can be read into a new store; rows that refer to lost ones go to a JSON-lines file.

    The damaged file is not changed. StoreError when nothing at all can be read.
    """
    with closing(_reader(damaged)) as source:
        Store.create(copy).close()
        with closing(sqlite3.connect(copy)) as target, orphans.open("w", encoding="utf-8") as rest:
            target.execute("PRAGMA foreign_keys = ON")
            found = [_copy_table(source, target, name, rest.write) for name in _tables(target)]
            target.commit()
    if not any(one.rows for one in found):
        raise StoreError(f"{damaged}: nothing in it can be read")
    return found


def _reader(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"no campaign store at {path}")
    try:
        source = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        source.text_factory = lambda raw: raw.decode(errors="replace")
        source.execute("PRAGMA cell_size_check = ON")
        source.execute("PRAGMA writable_schema = ON")  # else a file cut short is refused as a whole
        source.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except DAMAGED as error:
        raise StoreError(f"{path}: {error}; nothing in it can be read") from error
    return source


def _tables(target: sqlite3.Connection) -> list[str]:
    """As they were created: parents before children, so that a row whose other half is lost is noticed."""
    named = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
    names = [row[0] for row in target.execute(named)]
    return [one for one in names if one not in NOT_COPIED and not one.startswith("sqlite_")]


def _columns(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> list[str]:
    """Those that both files have: the damaged one may have an older schema."""
    mine, theirs = (
        [row[1] for row in one.execute(f"PRAGMA table_info({table})")] for one in (target, source)
    )
    return [name for name in mine if name in theirs]


def _copy_table(
    source: sqlite3.Connection, target: sqlite3.Connection, table: str, write: Any
) -> Salvaged:
    columns = _columns(source, target, table)
    if not columns:
        return Salvaged(table, 0, 0, 0)
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    rows = orphans = 0
    reader = _Rows(source, table, names)
    for row in reader.every():
        values = dict(zip(columns, row, strict=True))
        if table == "variants" and not _is_itself(values.get("id"), values.get("source")):
            reader.unreadable += 1  # damaged without SQLite noticing
            continue
        try:
            target.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)
            rows += 1
        except sqlite3.Error:
            orphans += 1
            write(json.dumps({"table": table, **values}, default=str) + "\n")
    return Salvaged(table, rows, orphans, reader.unreadable)


def _is_itself(id: object, source: object) -> bool:
    return isinstance(source, str) and variant_id(source) == id


class _Rows:
    """The readable rows of one table: from its beginning, from its end, then id by id between."""

    def __init__(self, source: sqlite3.Connection, table: str, names: str) -> None:
        self._source, self._table, self._names = source, table, names
        self._key = "measurement_id" if table == "scores" else "rowid"  # scores have no rowid
        self.unreadable = 0
        (self._most,) = source.execute(
            "SELECT page_count * page_size / ? FROM pragma_page_count, pragma_page_size",
            [LEAST_BYTES],
        ).fetchone()

    def every(self) -> Iterator[Row]:
        """Each row once, in order."""
        forward, whole = self._until_damage("ASC")
        if whole:
            yield from (row for _, row in forward)
            return
        backward, _ = self._until_damage("DESC")
        # of the id at either edge of the damage some rows may be missing: it is read again
        low = forward[-1][0] if forward else 1
        high = backward[-1][0] if backward else low + GAP
        yield from (row for id, row in forward if id < low)
        for id in range(low, high + 1):
            yield from self._of_id(id, counts=bool(backward))
        yield from (row for id, row in reversed(backward) if id > max(high, low))

    def _until_damage(self, direction: str) -> tuple[list[tuple[int, Row]], bool]:
        """(id, row) until the first error; whether there was none.

        SQLite reads some damage without an error: ids that are none, fall back, or are higher than a
        file of this size has rows are damage, too.
        """
        got: list[tuple[int, Row]] = []
        last, sign = (0, 1) if direction == "ASC" else (self._most, -1)
        order = f"ORDER BY {self._key} {direction}"
        sql = f"SELECT {self._key}, {self._names} FROM {self._table} {order}"
        try:
            for id, *row in self._source.execute(sql):
                if not isinstance(id, int) or not 0 <= id <= self._most or (id - last) * sign < 0:
                    return got, False
                last = id
                got.append((id, tuple(row)))
        except DAMAGED:
            return got, False
        return got, True

    def _of_id(self, id: int, counts: bool) -> Sequence[Row]:
        with suppress(*DAMAGED):
            sql = f"SELECT {self._names} FROM {self._table} WHERE {self._key} = ?"
            return self._source.execute(sql, [id]).fetchall()
        self.unreadable += counts
        return ()
