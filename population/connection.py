"""How a store is opened: the connection, the check of what lies there, and its errors in one sentence."""

from __future__ import annotations

import math
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from population.migrations import APPLICATION_ID, MIGRATIONS, migrate, schema_version

BUSY_SECONDS = 30.0
COPY_TRIES = 20
WAL_HEAD = 32  # bytes
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}

_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}


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
        db.execute("PRAGMA user_version")  # what cannot be read is told here and not later
    except BaseException:
        db.close()
        raise
    return db


def connect_to_read(path: Path) -> tuple[sqlite3.Connection, TemporaryDirectory[str] | None]:
    """A connection that only reads, and the folder of the copy it reads, where it has to be a copy.

    SQLite reads a store in WAL mode only where it may write beside it. Elsewhere, as on a read-only mount or
    in another user's folder, a store that nobody has open is read as it lies; one with a WAL is copied. A
    store with an older schema is copied, too, and the copy brought up to date.
    """
    try:
        db = connect(path, "ro")
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF not in _UNWRITABLE:
            raise
        if _wal(path).exists():
            return _connect_to_copy(path)
        db = connect(path, "ro&immutable=1")
    if _is_ours(db) and schema_version(db) < len(MIGRATIONS):
        db.close()
        return _connect_to_copy(path)
    return db, None


def is_older(path: Path) -> bool:
    """Whether opening this store to write would bring it to a newer schema. sqlite3.Error where it is none."""
    db = connect(path, "ro")
    try:
        return _is_ours(db) and schema_version(db) < len(MIGRATIONS)
    finally:
        db.close()


def _is_ours(db: sqlite3.Connection) -> bool:
    return bool(db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID)


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _connect_to_copy(path: Path) -> tuple[sqlite3.Connection, TemporaryDirectory[str]]:
    folder = TemporaryDirectory(prefix="evo-store-", ignore_cleanup_errors=True)
    try:
        copy = Path(folder.name) / path.name
        _copy_consistently(path, copy)
        db = connect(copy, "rw")
        if _is_ours(db) and schema_version(db) < len(MIGRATIONS):
            migrate(db)
        db.execute("PRAGMA query_only = ON")
    except BaseException:
        folder.cleanup()
        raise
    return db, folder


def _copy_consistently(path: Path, copy: Path) -> None:
    """Copy a store that another process may be writing to.

    What a writer moves from the WAL into the file stays in the WAL until that is begun anew. So the file and
    a WAL copied after it are the store at one moment, unless a new WAL was begun in between: its head tells.
    """
    for _ in range(COPY_TRIES):
        before = _head(_wal(path))
        shutil.copyfile(path, copy)
        _wal(copy).unlink(missing_ok=True)
        if before:
            shutil.copyfile(_wal(path), _wal(copy))
        if _head(_wal(path)) == before:
            return
    raise StoreError(f"{path} is written to faster than it can be copied; try again", passing=True)


def _head(wal: Path) -> bytes:
    """The first bytes of a WAL, with the random number of its beginning; empty where there is none."""
    try:
        with wal.open("rb") as file:
            return file.read(WAL_HEAD)
    except FileNotFoundError:
        return b""


def check(db: sqlite3.Connection, path: Path) -> None:
    """See that this is a store of ours, and bring it to the newest schema. StoreError when it is not."""
    version = schema_version(db)
    if not _is_ours(db):
        raise StoreError(f"{path} is not a campaign store")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} was written by a newer evotrain (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); upgrade evotrain to open it"
        )
    if version < len(MIGRATIONS):
        migrate(db)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and its Python binding raise into a StoreError."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise StoreError(f"text that is not valid Unicode: {error}") from error
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
        words = (
            "malformed",
            "not a database",
            "can't decode",
        )  # the last: of a damaged name or text
        damaged = any(word in str(error) for word in words)
        hint = (
            f"; `evo salvage --dir {shlex.quote(str(path.parent))} -o NEW` copies what can be read"
            if damaged
            else ""
        )
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension
        raise StoreError(f"{path}: {error}{hint}", passing=code in _PASSING) from error
