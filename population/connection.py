"""How a store is opened: the connection, the check of what lies there, and its errors in one sentence."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from population.migrations import APPLICATION_ID, MIGRATIONS, migrate, schema_version

BUSY_SECONDS = 30.0
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


class StoreError(Exception):
    """The store cannot be opened, read or written; the message says why in one sentence.

    `passing`: waiting can help, as when another process holds it or the disk is full.
    """

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection to the file; `mode` is SQLite's: ro, rw, rwc or memory."""
    db = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        check_same_thread=False,  # our own lock makes the threads take turns
    )
    try:
        db.execute("PRAGMA foreign_keys = ON")
        # some builds of SQLite have no square root, which views take standard errors with
        db.create_function("sqrt", 1, math.sqrt, deterministic=True)
        db.execute("PRAGMA synchronous = FULL")  # a committed measurement outlives a power cut
    except BaseException:
        db.close()
        raise
    return db


def check(db: sqlite3.Connection, path: Path, read_only: bool) -> None:
    """See that this is a store of ours, and bring it to the newest schema. StoreError when it is not."""
    version = schema_version(db)
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError(f"{path} is not a campaign store")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} was written by a newer evotrain (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); upgrade evotrain to open it"
        )
    if version < len(MIGRATIONS):
        if read_only:
            raise StoreError(f"{path} has an older schema; `evo resume` brings it up to date")
        migrate(db)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and its Python binding raise into a StoreError."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise StoreError(f"text that is not valid Unicode: {error}") from error
    except (sqlite3.Error, OverflowError) as error:
        damaged = any(word in str(error) for word in ("malformed", "not a database"))
        hint = (
            f"; `evo salvage --dir {path.parent} -o NEW` copies what can be read" if damaged else ""
        )
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension
        raise StoreError(f"{path}: {error}{hint}", passing=code in _PASSING) from error
