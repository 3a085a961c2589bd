"""The store: one SQLite file that holds everything a campaign knows. Opening and writing.

Every write is one transaction; `with store.transaction():` groups several into one. The reads are
in `population.reading`. A store may be used from several threads; they take turns.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from population.connection import StoreError as StoreError
from population.connection import check, connect, connect_to_read, explained
from population.migrations import migrate
from population.types import (
    OURSELVES,
    CurvePoint,
    Estimate,
    FrontMember,
    LlmCall,
    Measurement,
    Outcome,
    Proposal,
    RunRequest,
)

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from sqlite_utils import Database


class Store:
    """One open campaign store. Use as a context manager, or call `close`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        copy: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.path = path
        self._copy = copy  # the folder of what is read instead, where the store cannot be
        self._connection = connection
        self._lock = threading.RLock()

    @cached_property
    def _db(self) -> Database:
        """What writes. Commands that only read, such as `evo status`, do not wait for the import."""
        from sqlite_utils import Database

        return Database(self._connection, execute_plugins=False)

    @classmethod
    def create(cls, path: Path | str) -> Self:
        """A new store at `path`. StoreError when a file is already there or cannot be made."""
        path = Path(path)
        if path.exists():
            raise StoreError(f"{path} exists already")
        with explained(path):
            db = connect(path, "rwc")
            db.execute("PRAGMA journal_mode = WAL")
            migrate(db)
        return cls(db, path)

    @classmethod
    def open(cls, path: Path | str, read_only: bool = False) -> Self:
        """The store at `path`. StoreError when missing, not a store, damaged or too new.

        `read_only`: also where nothing may be written, and with an older schema; the file stays as it is.
        """
        path = Path(path)
        if not path.is_file():
            raise StoreError(f"no campaign store at {path}")
        if not os.access(path, os.R_OK):
            raise StoreError(f"{path} may not be read by this user")
        copy = None
        with explained(path):
            db, copy = connect_to_read(path) if read_only else (connect(path, "rw"), None)
            try:
                check(db, path)
            except BaseException:
                db.close()
                if copy is not None:
                    copy.cleanup()
                raise
        return cls(db, path, copy)

    @classmethod
    def in_memory(cls) -> Self:
        """A new store that is gone when it is closed."""
        path = Path("in memory")
        with explained(path):
            db = connect(path, "memory")
            migrate(db)
        return cls(db, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read or written afterwards."""
        with self._lock:
            self._connection.close()
            if self._copy is not None:
                self._copy.cleanup()

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of one SELECT."""
        with self._lock, explained(self.path):
            return self._connection.execute(sql, values).fetchall()  # also reading a row can fail

    def text(self, sql: str, values: Sequence[object] = ()) -> str | None:
        """The first column of the first row of one SELECT; None without a row."""
        rows = self.query(sql, values)
        return str(rows[0][0]) if rows else None

    def number(self, sql: str) -> int:
        """The first column of the only row of one SELECT."""
        return int(self.query(sql)[0][0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside become durable together or, on an exception, not at all."""
        with self._lock:
            if self._connection.in_transaction:
                with self._db.atomic():
                    yield
                return
            # not a plain BEGIN: a read that turns into a write would not wait for other writers
            self._execute("BEGIN IMMEDIATE")
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    def add_proposal(self, proposal: Proposal) -> None:
        """Record an attempt with its parents, and its variant when that is new."""
        if proposal.outcome is Outcome.VARIANT and proposal.variant is None:
            raise StoreError(f"proposal {proposal.number} has no variant to record")
        cost, now, variant = proposal.cost, time.time(), proposal.variant
        with self.transaction():
            if variant is not None and not self.query(
                "SELECT 1 FROM variants WHERE id = ?", [variant.id]
            ):
                row = {"id": variant.id, "fingerprint": variant.fingerprint, "created": now}
                self._insert("variants", {**row, "source": variant.source})
            self._insert(
                "proposals",
                {
                    "number": proposal.number,
                    "operator": proposal.operator,
                    "author": proposal.author,
                    "model": proposal.model,
                    "idea": proposal.idea,
                    "outcome": proposal.outcome.value,
                    "reason": proposal.reason,
                    "variant_id": None if variant is None else variant.id,
                    "seconds": cost.seconds,
                    "tokens_in": cost.tokens_in,
                    "tokens_out": cost.tokens_out,
                    "dollars": cost.dollars,
                    "seen": proposal.seen,
                    "created": now,
                    "idea_id": self._idea_of(proposal),
                    **({"island": proposal.island} if proposal.island else {}),
                },
            )
            for position, parent in enumerate(proposal.parents):
                row = {"proposal_number": proposal.number, "variant_id": parent.variant_id}
                self._insert("parents", {**row, "role": parent.role, "position": position})

    def _idea_of(self, proposal: Proposal) -> int | None:
        """The row of its idea: the one it names, else that of the same words, else a new one."""
        if proposal.origin and proposal.outcome is Outcome.VARIANT:
            same = (
                "SELECT id FROM ideas WHERE json_extract(origin, '$.id') = json_extract(?, '$.id')"
            )
            known = self.query(same, [proposal.origin])
            bank = f"bank {json.loads(proposal.origin).get('bank', '')}".strip()
            given = (proposal.idea, bank, proposal.origin)
            return known[0][0] if known else self.add_idea(*given)
        if proposal.idea_id is not None or not proposal.idea or proposal.author == OURSELVES:
            return proposal.idea_id
        if proposal.outcome is Outcome.DUPLICATE:
            return None  # what it would try is a variant already: in a list it would wait for ever
        same = "SELECT id FROM ideas WHERE lower(text) = lower(?) ORDER BY id LIMIT 1"
        known = self.query(same, [proposal.idea])
        return known[0][0] if known else self.add_idea(proposal.idea, proposal.author)

    def add_measurement(self, measurement: Measurement) -> int:
        """Record what a run showed and end its row in `runs`. The id of the measurement."""
        with self.transaction():
            self.close_run(measurement.request)
            new = self._insert("measurements", _measurement_row(measurement))
            metrics = {name: float(value) for name, value in measurement.metrics.items()}
            self._insert_all(
                "scores",
                ("measurement_id", "name", "value"),
                ((new, name, value) for name, value in metrics.items()),
            )
            self._insert_all(
                "document_scores",
                ("measurement_id", "document", "bits", "bytes"),
                ((new, one.document, one.bits, one.bytes) for one in measurement.documents),
            )
        return new

    def void(self, measurement_id: int, reason: str) -> None:
        """Take a measurement out of every view, with the reason; its row stays."""
        row = {"measurement_id": measurement_id, "reason": reason, "created": time.time()}
        self._insert("voids", row)

    def open_run(self, request: RunRequest, slot: str) -> None:
        """Record that a slot has taken this request."""
        row = {**_key(request), "purpose": request.purpose.value, "slot": slot}
        self._insert("runs", {**row, "started": time.time()})

    def note_run_process(self, request: RunRequest, pid: int, pid_started_at: float) -> None:
        """Record the outermost process of a run, so that a later campaign can end it."""
        self._change(
            f"UPDATE runs SET pid = ?, pid_started_at = ? WHERE {_KEY}",
            [pid, pid_started_at, *_key(request).values()],
        )

    def close_run(self, request: RunRequest) -> None:
        """Forget a run in flight; nothing happens when there is none."""
        self._change(f"DELETE FROM runs WHERE {_KEY}", [*_key(request).values()])

    def add_llm_call(self, call: LlmCall) -> int:
        """Record one request to a model; its id."""
        return self._insert("llm_calls", {**_call_row(call), "created": time.time()})

    def finish_llm_call(self, id: int, call: LlmCall) -> None:
        """Replace a request in flight by how it ended."""
        row = _call_row(call)
        sets = ", ".join(f"{name} = ?" for name in row)
        self._change(f"UPDATE llm_calls SET {sets} WHERE id = ?", [*row.values(), id])

    def end_llm_calls(self, outcome: str) -> None:
        """Give this outcome to every request that a killed process left in flight; it keeps its ceiling."""
        self._change("UPDATE llm_calls SET outcome = ? WHERE outcome = 'asked'", [outcome])

    def add_decision(
        self, kind: str, variant_id: str | None, detail: Mapping[str, object] | None = None
    ) -> int:
        """Record what was decided about a variant (or about none), with its evidence; its id."""
        row = {"kind": kind, "variant_id": variant_id, "detail": _json(dict(detail or {}))}
        return self._insert("decisions", {**row, "created": time.time()})

    def add_event(self, kind: str, text: str) -> int:
        """Record what happened in plain words; its id."""
        return self._insert("events", {"kind": kind, "text": text, "created": time.time()})

    def add_idea(self, text: str, author: str, origin: str | None = None) -> int:
        """Record an idea in words, with the line of the bank that it is from; its id."""
        row = {"text": text, "author": author, "created": time.time(), "origin": origin}
        return self._insert("ideas", row)

    def add_note(self, text: str, author: str, evidence: Sequence[str] = (), seen: int = 0) -> int:
        """Record a research note and the variants it rests on; its id."""
        row = {"text": text, "author": author, "evidence": _json(list(evidence)), "seen": seen}
        return self._insert("notes", {**row, "created": time.time()})

    def edit_note(self, id: int, text: str, author: str) -> bool:
        """Put other words into a note that stands; False when there is none."""
        sets = "text = ?, author = ?, edited = ?"
        return self._touch_note(id, sets, [text, author, time.time()])

    def delete_note(self, id: int) -> bool:
        """Let a note stand no longer; False when it does not stand. Its row stays."""
        return self._touch_note(id, "deleted = ?", [time.time()])

    def _touch_note(self, id: int, sets: str, values: Sequence[object]) -> bool:
        with self.transaction():
            if not self.query("SELECT 1 FROM notes WHERE id = ? AND deleted IS NULL", [id]):
                return False
            self._change(f"UPDATE notes SET {sets} WHERE id = ?", [*values, id])
        return True

    def add_request(self, kind: str, detail: object = None, author: str = "user") -> int:
        """Ask something of the running campaign, from any process; the id of the request."""
        row = {"kind": kind, "detail": _json(detail), "author": author}
        return self._insert("requests", {**row, "created": time.time()})

    def finish_request(self, id: int) -> bool:
        """A request is answered; in one transaction with what it asked for, it is so exactly once.

        False when it was answered or withdrawn before: then it asks for nothing any more.
        """
        with self.transaction():
            if not self.query("SELECT 1 FROM requests WHERE id = ? AND done IS NULL", [id]):
                return False
            self._change("UPDATE requests SET done = ? WHERE id = ?", [time.time(), id])
        return True

    def add_row(self, table: str, values: Mapping[str, object]) -> int:
        """Write a row as it was recorded elsewhere, with its ids and times; its rowid."""
        return self._insert(table, values)

    def set_setting(self, key: str, value: object) -> None:
        """Keep a JSON value under a name."""
        text = _json(value)
        self._change("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", [key, text])

    def setting(self, key: str, default: Any = None) -> Any:
        """The value kept under a name, or `default`."""
        rows = self.query("SELECT value FROM settings WHERE key = ?", [key])
        return json.loads(rows[0][0]) if rows else default

    def set_front(self, rung: str, members: Sequence[FrontMember]) -> None:
        """Have the front of a rung be these variants, the best first; what stays as it was is not written."""
        now = {
            one.variant_id: (place, str(one.standing), one.estimate.mean, _finite(one.estimate.sd))
            for place, one in enumerate(members)
        }
        names = ("rung", "variant_id", "place", "standing", "estimate", "estimate_sd")
        with self.transaction():
            sql = f"SELECT {', '.join(names[1:])} FROM front WHERE rung = ?"
            before = {one: tuple(rest) for one, *rest in self.query(sql, [rung])}
            self._change_all(
                "DELETE FROM front WHERE rung = ? AND variant_id = ?",
                [(rung, one) for one, row in before.items() if now.get(one) != row],
            )
            moved = [(rung, one, *row) for one, row in now.items() if before.get(one) != row]
            self._insert_all("front", names, moved)

    def set_beliefs(self, rung: str, moved: Mapping[str, Mapping[str, Estimate]]) -> None:
        """Replace what is believed of these variants at a rung, by metric; nothing: it has no score now."""
        with self.transaction():
            self._change_all(
                "DELETE FROM beliefs WHERE rung = ? AND variant_id = ?",
                ((rung, variant_id) for variant_id in moved),
            )
            self._insert_all(
                "beliefs",
                ("rung", "variant_id", "metric", "mean", "sd", "n"),
                (
                    (rung, variant_id, metric, one.mean, _finite(one.sd), one.n)
                    for variant_id, metrics in moved.items()
                    for metric, one in metrics.items()
                ),
            )

    def _insert(self, table: str, row: Mapping[str, object]) -> int:
        _check_finite(table, row, row.values())
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"
        return self._change(sql, list(row.values()))

    def _insert_all(
        self, table: str, names: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Rows of the same columns, at a fraction of what each costs alone."""
        rows = list(rows)
        for row in rows:
            _check_finite(table, names, row)
        marks = ", ".join("?" * len(names))
        self._change_all(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)

    def _change_all(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with self.transaction(), explained(self.path):
            self._connection.executemany(sql, rows)

    def _change(self, sql: str, values: Sequence[object]) -> int:
        with self._lock:
            if self._connection.in_transaction:  # a statement is done whole or not at all
                return self._execute(sql, values).lastrowid or 0
            with self.transaction():
                return self._execute(sql, values).lastrowid or 0

    def _execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        with explained(self.path):
            return self._db.execute(sql, values)


def _check_finite(table: str, names: Iterable[str], values: Iterable[object]) -> None:
    for name, value in zip(names, values, strict=True):
        if isinstance(value, float) and not math.isfinite(value):
            raise StoreError(f"{table}.{name} is {value}; only finite numbers are recorded")


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


_KEY = "variant_id = ? AND rung = ? AND block = ? AND repeat = ?"


def _key(request: RunRequest) -> dict[str, object]:
    return {
        "variant_id": request.variant_id,
        "rung": request.rung,
        "block": request.block,
        "repeat": request.repeat,
    }


def _call_row(call: LlmCall) -> dict[str, object]:
    row = {name: getattr(call, name) for name in LlmCall.__slots__}
    row["parts"] = _json(dict(call.parts))
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise StoreError(f"llm_calls.{name} is {value}; only finite numbers are recorded")
    return row


def _measurement_row(measurement: Measurement) -> dict[str, object]:
    plain = (
        "reason slot host device started_at wall_seconds cpu_seconds train_wall_seconds "
        "self_reported_steps self_reported_tokens log_tail"
    )
    return {
        **_key(measurement.request),
        "purpose": measurement.request.purpose.value,
        "status": measurement.status.value,
        **{name: getattr(measurement, name) for name in plain.split()},
        "facts": _json(dict(measurement.facts)),
        "curve": _json([_point(point) for point in measurement.curve]),
        "recorded": time.time(),
    }


def _point(point: CurvePoint) -> list[float | int | None]:
    """A curve is what the variant reports: what is not finite there is kept as null."""
    numbers = (point.progress, point.loss)
    return [*(x if math.isfinite(x) else None for x in numbers), point.tokens]


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"not to be kept as JSON: {error}") from error
