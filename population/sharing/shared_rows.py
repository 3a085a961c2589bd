"""The rows of a campaign in a form that other campaigns can take in: each is itself, wherever it lies.

A row's key is the sha256 of what it says and of the campaign that it was made in, and it refers to others by
their keys. So campaigns merge as sets do: in any order, any number of times. A campaign needs no id of its own
for that: it is known by its seed and the moment at which that was recorded.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from population.store import Store

MERGED = "merged"  # the setting of a store that others were merged into
CONTRACT = (
    "task",
    "metrics",
    "allow_repeats",
    "clock",
    "rungs",
    "objectives",
    "constraints",
    "exact",
)  # keys of the config that say how it was measured and what is better

Body = Mapping[str, Any]


class Kind(StrEnum):
    """What a row is, in the order in which rows are written."""

    CAMPAIGN = "campaign"
    VARIANT = "variant"
    IDEA = "idea"
    PROPOSAL = "proposal"
    MEASUREMENT = "measurement"
    VOID = "void"
    DECISION = "decision"
    NOTE = "note"
    CALL = "call"


class Vouched(IntEnum):
    """Who stands for a row. What OTHERS say is evidence, and nothing is certified by it."""

    OTHERS = 0
    TRUSTED = 1  # signed with a key that the reader trusts
    OURS = 2  # from a campaign's folder that the reader named, measured by that campaign


@dataclass(frozen=True, slots=True)
class SharedRow:
    """One row. `key` is its identity: of notes and campaigns, which change, without what may change."""

    key: str
    body: Body
    vouched: Vouched

    @classmethod
    def of(cls, body: Body, vouched: Vouched) -> SharedRow:
        """The row with this body. A source needs nobody to vouch for it: its id is of what it says."""
        whose = Vouched.OTHERS if body["kind"] == Kind.VARIANT else vouched
        return cls(key_of(body), body, whose)

    @property
    def kind(self) -> Kind:
        """What it is."""
        return Kind(self.body["kind"])

    @property
    def place(self) -> tuple[Any, ...]:
        """Of two rows with one key the one with the higher place counts: total, so that order never matters."""
        changed = tuple(float(self.body.get(name) or 0) for name in _CHANGING.get(self.kind, ()))
        return self.vouched > Vouched.OTHERS, changed, canonical(self.body), self.vouched


_IDENTITY = {Kind.NOTE: ("kind", "campaign", "id", "created"), Kind.CAMPAIGN: ("kind", "campaign")}
_CHANGING = {Kind.NOTE: ("deleted", "edited"), Kind.CAMPAIGN: ("seconds",)}


def canonical(body: Body) -> bytes:
    """The one text of a body. ValueError for what is no JSON, such as NaN."""
    text = json.dumps(
        body, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def key_of(body: Body) -> str:
    """The identity of a row, 64 hex digits; of a variant its own id."""
    kind = Kind(body["kind"])
    if kind is Kind.VARIANT:
        return str(body["id"])
    names = _IDENTITY.get(kind)
    told = body if names is None else {name: body.get(name) for name in names}
    return hashlib.sha256(canonical(told)).hexdigest()


class SharedRows:
    """A set of rows by key; adding is union."""

    def __init__(self, rows: Iterable[SharedRow] = ()) -> None:
        self._rows: dict[str, SharedRow] = {}
        for row in rows:
            self.add(row)

    def add(self, row: SharedRow) -> None:
        """Take in one row, once."""
        known = self._rows.get(row.key)
        if known is None or known.place < row.place:
            self._rows[row.key] = row

    def update(self, others: Iterable[SharedRow]) -> None:
        """Take in several."""
        for row in others:
            self.add(row)

    def __iter__(self) -> Iterator[SharedRow]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedRows) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: str) -> SharedRow:
        return self._rows[key]

    def get(self, key: str) -> SharedRow | None:
        """The row with this key, or None."""
        return self._rows.get(key)

    def of(self, *kinds: Kind) -> list[SharedRow]:
        """Those of some kinds."""
        return [row for row in self._rows.values() if row.kind in kinds]


# -- Out of a store.


def shared_rows(store: Store) -> SharedRows:
    """Every row of a store that others can take in: its own, and those that it took in itself.

    Runs and requests to models in flight are left out, and what a model was asked and answered: only what that
    cost is told. Read at one moment, also while the campaign runs.
    """
    store.query("BEGIN")
    try:
        return _Extraction(store).rows()
    finally:
        store.query("COMMIT")


def campaign_id(store: Store) -> str:
    """By what a campaign is known: 16 hex digits; "" for a store without a seed."""
    told = store.setting(MERGED)
    if told is not None:
        return str(told["campaign"])
    first = store.query("SELECT variant_id, created FROM proposals ORDER BY number LIMIT 1")
    if not first:
        return ""
    return hashlib.sha256(canonical({"seed": first[0][0], "created": first[0][1]})).hexdigest()[:16]


class _Extraction:
    """One pass over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._id = campaign_id(store)
        merged = store.setting(MERGED) or {}
        self._merged = merged
        self._last: Mapping[str, int] = merged.get("last", {})
        self._rows = SharedRows()

    def rows(self) -> SharedRows:
        for key, vouched, blob in self._store.query("SELECT key, vouched, body FROM shared_rows"):
            self._rows.add(SharedRow(key, _unpacked(blob), Vouched(vouched)))
        variants = self._store.query("SELECT id, source FROM variants")
        for id, source in variants:
            self._take({"kind": "variant", "id": id, "source": source})
        ideas = self._ideas()
        self._proposals(ideas)
        measured = self._measurements()
        self._voids(measured)
        self._decisions()
        self._notes()
        self._calls()
        if not self._merged or any(row.body.get("campaign") == self._id for row in self._rows):
            self._campaign()
        return self._rows

    def _take(self, body: dict[str, Any]) -> str:
        row = SharedRow.of(_without_nulls(body), Vouched.OURS)
        self._rows.add(row)
        return row.key

    def _own(self, table: str, key: str, columns: str) -> list[tuple[Any, ...]]:
        """The rows of a table that were made here."""
        sql = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
        return self._store.query(sql, [self._last.get(table, -(2**62))])

    def _campaign(self) -> None:
        setting = self._store.setting
        seconds = float(setting("seconds_spent", 0.0)) - self._merged.get("seconds", 0.0)
        first = "SELECT variant_id, created FROM proposals ORDER BY number LIMIT 1"
        rows = self._store.query(first)
        if not rows:
            return
        config = setting("config") or {}
        self._take(
            {
                "kind": "campaign",
                "campaign": self._id,
                "name": str(config.get("name", "campaign")),
                "created": self._merged.get("created", rows[0][1]),
                "seed": rows[0][0],
                "seconds": max(seconds, 0.0),
                "config": contract_of(config),
                "data": setting("data"),
                "asks_unseen": int(setting("asks_unseen", 0)),
                "host_class": str(setting("host_class", "")),
            }
        )

    def _ideas(self) -> dict[int, str]:
        keys = {int(row): key for row, key in self._merged.get("ideas", {}).items()}
        for id, text, author, created, origin in self._own(
            "ideas", "id", "id, text, author, created, origin"
        ):
            body = {"kind": "idea", "campaign": self._id, "id": id, "text": text, "author": author}
            keys[id] = self._take({**body, "created": created, "origin": origin})
        return keys

    def _proposals(self, ideas: Mapping[int, str]) -> None:
        names = (
            "number operator author model idea outcome reason seconds tokens_in tokens_out dollars "
            "seen created"
        )
        parents: dict[int, list[list[str]]] = {}
        sql = "SELECT proposal_number, variant_id, role FROM parents ORDER BY proposal_number, position"
        for number, variant, role in self._store.query(sql):
            parents.setdefault(number, []).append([variant, role])
        columns = f"{', '.join(names.split())}, variant_id, idea_id"
        for *values, variant, idea in self._own("proposals", "number", columns):
            body = dict(zip(names.split(), values, strict=True))
            body |= {"kind": "proposal", "campaign": self._id, "variant": variant}
            body |= {"of_idea": ideas.get(idea), "parents": parents.get(values[0], [])}
            self._take(body)

    def _measurements(self) -> dict[int, str]:
        keys: dict[int, str] = {}
        scores, documents = dict[int, dict[str, float]](), dict[int, list[list[Any]]]()
        after = self._last.get("measurements", 0)
        sql = "SELECT measurement_id, name, value FROM scores WHERE measurement_id > ?"
        for id, name, value in self._store.query(sql, [after]):
            scores.setdefault(id, {})[name] = value
        sql = """SELECT measurement_id, document, bits, bytes FROM document_scores
            WHERE measurement_id > ? ORDER BY rowid"""
        for id, *told in self._store.query(sql, [after]):
            documents.setdefault(id, []).append(told)
        columns = f"{', '.join(MEASURED)}, variant_id, facts, curve, log_tail"
        for *values, variant, facts, curve, log in self._own("measurements", "id", columns):
            body = dict(zip(MEASURED, values, strict=True))
            body |= {"kind": "measurement", "campaign": self._id, "variant": variant}
            body |= {"facts": json.loads(facts), "curve": json.loads(curve), "log_tail": log}
            id = values[0]
            body |= {"scores": scores.get(id, {}), "documents": documents.get(id, [])}
            keys[id] = self._take(body)
        return keys

    def _voids(self, measured: Mapping[int, str]) -> None:
        for id, reason, created in self._store.query(
            "SELECT measurement_id, reason, created FROM voids"
        ):
            if id in measured:
                body = {"kind": "void", "campaign": self._id, "measurement": measured[id]}
                self._take({**body, "reason": reason, "created": created})

    def _decisions(self) -> None:
        for id, kind, variant, detail, created in self._own(
            "decisions", "id", "id, kind, variant_id, detail, created"
        ):
            body = {"kind": "decision", "campaign": self._id, "id": id, "what": kind}
            self._take(
                {**body, "variant": variant, "detail": json.loads(detail), "created": created}
            )

    def _notes(self) -> None:
        """Also those taken in from others that a person has edited or deleted here since."""
        taken = {int(row): key for row, key in self._merged.get("notes", {}).items()}
        sql = "SELECT id, text, author, evidence, seen, created, edited, deleted FROM notes"
        for id, text, author, evidence, seen, created, edited, deleted in self._store.query(sql):
            known = self._rows.get(taken.get(id, ""))
            of = (self._id, id, created) if known is None else _origin(known.body)
            body = {"kind": "note", "campaign": of[0], "id": of[1], "created": of[2]}
            body |= {"text": text, "author": author, "edited": edited, "deleted": deleted}
            body |= {"evidence": json.loads(evidence), "seen": seen}
            if known is not None:
                body["seen"] = known.body["seen"]
                if body == known.body:
                    continue
            self._take(body)

    def _calls(self) -> None:
        names = (
            "id proposal_number endpoint model outcome tokens_in tokens_out dollars seconds created "
            "again_because"
        )
        columns = f"{', '.join(names.split())}, parts, estimated"
        for *values, parts, estimated in self._own("llm_calls", "id", columns):
            body = dict(zip(names.split(), values, strict=True))
            if body["outcome"] != "asked":
                body |= {"kind": "call", "campaign": self._id, "parts": json.loads(parts)}
                self._take({**body, "estimated": bool(estimated)})


_MEASURED = (
    "id rung block repeat purpose status reason slot host device started_at wall_seconds cpu_seconds "
    "train_wall_seconds self_reported_steps self_reported_tokens recorded"
)
MEASURED = tuple(_MEASURED.split(" "))


def contract_of(config: Body) -> dict[str, Any]:
    """What of a config has to be the same for measurements to be comparable, no path among it."""
    found = {name: config[name] for name in CONTRACT if name in config}
    found["rungs"] = [[name, one] for name, one in (config.get("rungs") or {}).items()]  # in order
    if isinstance(found.get("task"), Mapping):
        found["task"] = {
            key: value
            for key, value in found["task"].items()
            if key not in ("folder", "python", "environment", "read_only")
        }
    return found


def _origin(body: Body) -> tuple[Any, Any, Any]:
    return body["campaign"], body["id"], body["created"]


def packed(body: Body) -> bytes:
    """A body as a store keeps it."""
    return zlib.compress(canonical(body))


def _unpacked(blob: bytes) -> Body:
    body: Body = json.loads(zlib.decompress(blob))
    return body


def _without_nulls(value: Any) -> Any:
    """The same with U+FFFD for every null character, which no bundle may hold."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if isinstance(value, Mapping):
        return {_without_nulls(key): _without_nulls(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nulls(one) for one in value]
    return value
