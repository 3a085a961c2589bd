"""What was measured, and what is being measured."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from population.store import Store, StoreError
from population.types import (
    DERIVED,
    SITE,
    CurvePoint,
    DocumentScore,
    Measurement,
    MeasurementRow,
    OpenRun,
    Purpose,
    RunRequest,
    Status,
)

_HEAD = """id, variant_id, rung, block, repeat, purpose, status, reason, slot, host, device,
    started_at, wall_seconds, cpu_seconds, train_wall_seconds, self_reported_steps,
    self_reported_tokens"""
_STATUSES = {status.value: status for status in Status}  # twice as fast as Status(text)
_PURPOSES = {purpose.value: purpose for purpose in Purpose}
_COUNTS = "id NOT IN (SELECT measurement_id FROM voids)"


def measurements(
    store: Store,
    rung: str | None = None,
    variant_id: str | None = None,
    as_of: int | None = None,
    statuses: Collection[Status] | None = None,
    after: int = 0,
) -> list[MeasurementRow]:
    """Measurements in the order of recording, without voided ones, and without lost ones unless
    `statuses` asks for them; ids in (after, as_of]. Light: no documents, curve, facts or log.
    """
    conditions = [_COUNTS, "id > ?"]
    chosen: list[Any] = [after]
    wanted = set(Status) - {Status.LOST} if statuses is None else set(statuses)
    conditions.append(f"status IN ({', '.join(repr(str(status)) for status in sorted(wanted))})")
    for condition, value in (
        ("rung = ?", rung),
        ("variant_id = ?", variant_id),
        ("id <= ?", as_of),
    ):
        if value is not None:
            conditions.append(condition)
            chosen.append(value)
    where = " AND ".join(conditions)
    metrics: dict[int, dict[str, float]] = {}
    sql = "SELECT measurement_id, name, value FROM scores WHERE measurement_id "
    if variant_id is None:  # nearly all: reading a range is twice as fast as asking for each
        scores = store.query(
            f"{sql} > ? AND measurement_id <= ?", [after, 2**62 if as_of is None else as_of]
        )
    else:
        scores = store.query(f"{sql} IN (SELECT id FROM measurements WHERE {where})", chosen)
    for id, name, value in scores:
        metrics.setdefault(id, {})[name] = value
    rows = store.query(f"SELECT {_HEAD} FROM measurements WHERE {where} ORDER BY id", chosen)
    return [_measured(row, metrics.get(row[0], {})) for row in rows]


def facts_by_measurement(store: Store) -> dict[int, dict[str, str]]:
    """The facts of every measurement by its id; `measurements` leaves them out."""
    return {id: json.loads(text) for id, text in store.query("SELECT id, facts FROM measurements")}


def measurement(store: Store, measurement_id: int) -> MeasurementRow:
    """One measurement with everything recorded, voided or not. StoreError when there is none."""
    sql = f"SELECT {_HEAD}, facts, curve, log_tail FROM measurements WHERE id = ?"
    rows = store.query(sql, [measurement_id])
    if not rows:
        raise StoreError(f"no measurement {measurement_id}")
    *head, facts, curve, log_tail = rows[0]
    by_id = "WHERE measurement_id = ?"
    scores = store.query(f"SELECT name, value FROM scores {by_id}", [measurement_id])
    documents = store.query(
        f"SELECT document, bits, bytes FROM document_scores {by_id} ORDER BY rowid",
        [measurement_id],
    )
    return _measured(
        head,
        dict(scores),
        documents=tuple(DocumentScore(*row) for row in documents),
        facts=json.loads(facts),
        curve=tuple(_point(*point) for point in json.loads(curve)),
        log_tail=log_tail,
    )


def operations(store: Store, as_of: int | None = None) -> dict[str, str]:
    """What takes longest in the seed and in champions, as their own runs said, by variant."""
    rows = store.query(
        """SELECT variant_id, json_extract(facts, '$.operations') FROM measurements
        WHERE purpose IN ('calibrate', 'post') AND status = 'ok' AND id <= ?
        AND json_extract(facts, '$.operations') IS NOT NULL ORDER BY id""",
        [2**62 if as_of is None else as_of],
    )
    return dict(rows)


def tolerances(store: Store) -> dict[str, str]:
    """By rung, how far the two servers of a model may be apart: as the first run of the seed here set it.

    Voided runs count, as time plays no part in it; rows of others do not.
    """
    rows = store.query(
        """SELECT rung, json_extract(facts, '$.tolerance') FROM measurements
        WHERE variant_id = (
            SELECT variant_id FROM proposals WHERE outcome = 'variant' ORDER BY number LIMIT 1)
        AND block < ? AND status = 'ok'
        AND json_extract(facts, '$.tolerance') IS NOT NULL ORDER BY id DESC""",
        [SITE],
    )
    return {rung.partition(DERIVED)[0]: words for rung, words in rows}  # the first row comes last


def _measured(row: Any, metrics: Mapping[str, float], **rest: Any) -> MeasurementRow:
    id, variant_id, rung, block, repeat, purpose, status, reason, slot, host, device, *numbers = row
    started_at, wall, cpu, train_wall, steps, tokens = numbers
    return MeasurementRow(
        id,
        Measurement(
            request=RunRequest(variant_id, rung, block, repeat, _PURPOSES[purpose]),
            status=_STATUSES[status],
            reason=reason,
            metrics=metrics,
            slot=slot,
            host=host,
            device=device,
            started_at=started_at,
            wall_seconds=wall,
            cpu_seconds=cpu,
            train_wall_seconds=train_wall,
            self_reported_steps=steps,
            self_reported_tokens=tokens,
            **rest,
        ),
    )


def _point(progress: float | None, loss: float | None, tokens: int) -> CurvePoint:
    nan = math.nan
    return CurvePoint(nan if progress is None else progress, nan if loss is None else loss, tokens)


def counts_by_status(store: Store, rung: str | None = None) -> dict[Status, int]:
    """How many measurements ended how, at one rung or at all, without voided ones."""
    rung_only, values = ("AND rung = ?", [rung]) if rung is not None else ("", [])
    sql = f"SELECT status, count(*) FROM measurements WHERE {_COUNTS} {rung_only} GROUP BY status"
    return {Status(status): count for status, count in store.query(sql, values)}


def voided(store: Store) -> list[tuple[RunRequest, str]]:
    """The runs that do not count and why, in the order they were voided."""
    rows = store.query(
        """SELECT m.variant_id, m.rung, m.block, m.repeat, m.purpose, v.reason
        FROM voids AS v JOIN measurements AS m ON m.id = v.measurement_id ORDER BY v.created, m.id"""
    )
    return [
        (RunRequest(id, rung, block, repeat, Purpose(purpose)), reason)
        for id, rung, block, repeat, purpose, reason in rows
    ]


def open_runs(store: Store) -> list[OpenRun]:
    """The runs in flight, oldest first."""
    rows = store.query(
        """SELECT variant_id, rung, block, repeat, purpose, slot, pid, pid_started_at, started
        FROM runs ORDER BY started, rowid"""
    )
    return [
        OpenRun(RunRequest(id, rung, block, repeat, Purpose(purpose)), *rest)
        for id, rung, block, repeat, purpose, *rest in rows
    ]
