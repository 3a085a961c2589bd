"""What a store knows: every read of it, as functions of a store."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from population.records import Decided as Decided
from population.records import Event as Event
from population.records import Measured as Measured
from population.records import OpenRun as OpenRun
from population.records import Proposed as Proposed
from population.records import Spent as Spent
from population.store import Store, StoreError
from population.variant import (
    Cost,
    CurvePoint,
    DocumentScore,
    Measurement,
    Order,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    Status,
    Variant,
)

SHORTEST_PREFIX = 4
NAMES = ("seed", "best", "last")


class UnknownVariant(LookupError):
    """No variant, or more than one, answers to this text; the message lists near ones."""


# --- variants ---------------------------------------------------------------------------------


def variant(store: Store, variant_id: str) -> Variant:
    """The variant with this full id. UnknownVariant when there is none."""
    rows = store.query("SELECT source, fingerprint FROM variants WHERE id = ?", [variant_id])
    if not rows:
        raise UnknownVariant(f"no variant {variant_id!r}")
    return Variant(variant_id, *rows[0])


def source_of(store: Store, variant_id: str) -> str:
    """The source of the variant with this full id. UnknownVariant when there is none."""
    return variant(store, variant_id).source


def variant_by_fingerprint(store: Store, fingerprint: str) -> str | None:
    """The id of the oldest variant with this fingerprint, or None."""
    sql = "SELECT id FROM variants WHERE fingerprint = ? ORDER BY created, rowid LIMIT 1"
    return _text(store, sql, [fingerprint])


def resolve(store: Store, text: str) -> str:
    """The full id for an id, a unique prefix (4 digits or more) or a name of NAMES; else UnknownVariant.

    `best` is the front's best by the first objective at the first rung, `last` the newest child.
    """
    if text in NAMES:
        return _named(store, text)
    wanted = text.lower()
    if len(wanted) < SHORTEST_PREFIX:
        raise UnknownVariant(f"{text!r} is too short: give at least {SHORTEST_PREFIX} digits")
    found = _starting_with(store, wanted)
    if len(found) == 1 or wanted in found:
        return found[0]
    if found:
        raise UnknownVariant(f"{text!r} could be any of {_short(found)}: give more digits")
    near = _starting_with(store, wanted[:2]) or _starting_with(store, wanted[:1])
    hint = f"near: {_short(near)}" if near else f"names: {', '.join(NAMES)}"
    raise UnknownVariant(f"no variant {text!r} ({hint})")


def _starting_with(store: Store, prefix: str) -> list[str]:
    sql = "SELECT id FROM variants WHERE id >= ? AND id < ? ORDER BY id LIMIT 6"
    return [row[0] for row in store.query(sql, [prefix, prefix + "\U0010ffff"])]


def _short(ids: Collection[str]) -> str:
    return ", ".join(id[:10] for id in ids)


def _named(store: Store, name: str) -> str:
    found = {"seed": seed, "best": best, "last": _last}[name](store)
    if found is None:
        raise UnknownVariant(f"there is no {name!r} yet")
    return found


def seed(store: Store) -> str | None:
    """The id of the variant everything descends from: that of the first proposal."""
    sql = "SELECT variant_id FROM proposals WHERE outcome = 'variant' ORDER BY number LIMIT 1"
    return _text(store, sql)


def best(store: Store) -> str | None:
    """The front's best by the first objective at the first rung; without a front, the variant of
    lowest mean val_bpb.
    """
    rung = _text(store, "SELECT rung FROM v_measurements WHERE status = 'ok' ORDER BY id LIMIT 1")
    on_front = _text(store, "SELECT variant_id FROM front WHERE rung = ? AND place = 0", [rung])
    order = "WHERE rung = ? AND val_bpb IS NOT NULL ORDER BY val_bpb, variant LIMIT 1"
    return on_front or _text(store, f"SELECT variant FROM v_estimates {order}", [rung])


def _last(store: Store) -> str | None:
    newest = "WHERE outcome = 'variant' ORDER BY number DESC LIMIT 1"
    return _text(store, f"SELECT variant_id FROM proposals {newest}")


def unmeasured(store: Store, rung: str) -> list[str]:
    """Variants without a measurement at this rung (lost ones are none), as they were proposed."""
    sql = """SELECT variant_id FROM proposals WHERE outcome = 'variant'
        AND NOT EXISTS (SELECT 1 FROM measurements AS m WHERE m.variant_id = proposals.variant_id
            AND m.rung = ? AND m.status != 'lost')
        GROUP BY variant_id ORDER BY min(number)"""
    return [row[0] for row in store.query(sql, [rung])]


# --- measurements -----------------------------------------------------------------------------

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
    upto: int | None = None,
    statuses: Collection[Status] | None = None,
    after: int = 0,
) -> list[Measured]:
    """Measurements in the order of recording, without voided ones, and without lost ones unless
    `statuses` asks for them; ids in (after, upto]. Light: no documents, curve, facts or log.
    """
    conditions = [_COUNTS, "id > ?"]
    chosen: list[Any] = [after]
    wanted = set(Status) - {Status.LOST} if statuses is None else set(statuses)
    conditions.append(f"status IN ({', '.join(repr(str(status)) for status in sorted(wanted))})")
    for condition, value in (("rung = ?", rung), ("variant_id = ?", variant_id), ("id <= ?", upto)):
        if value is not None:
            conditions.append(condition)
            chosen.append(value)
    where = " AND ".join(conditions)
    metrics: dict[int, dict[str, float]] = {}
    sql = "SELECT measurement_id, name, value FROM scores WHERE measurement_id "
    if variant_id is None:  # nearly all: reading a range is twice as fast as asking for each
        scores = store.query(
            f"{sql} > ? AND measurement_id <= ?", [after, 2**62 if upto is None else upto]
        )
    else:
        scores = store.query(f"{sql} IN (SELECT id FROM measurements WHERE {where})", chosen)
    for id, name, value in scores:
        metrics.setdefault(id, {})[name] = value
    rows = store.query(f"SELECT {_HEAD} FROM measurements WHERE {where} ORDER BY id", chosen)
    return [_measured(row, metrics.get(row[0], {})) for row in rows]


def measurement(store: Store, measurement_id: int) -> Measured:
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


def _measured(row: Any, metrics: Mapping[str, float], **rest: Any) -> Measured:
    id, variant_id, rung, block, repeat, purpose, status, reason, slot, host, device, *numbers = row
    started_at, wall, cpu, train_wall, steps, tokens = numbers
    return Measured(
        id,
        Measurement(
            order=Order(variant_id, rung, block, repeat, _PURPOSES[purpose]),
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


def open_runs(store: Store) -> list[OpenRun]:
    """The runs in flight, oldest first."""
    rows = store.query(
        """SELECT variant_id, rung, block, repeat, purpose, slot, pid, pid_started_at, started
        FROM runs ORDER BY started, rowid"""
    )
    return [
        OpenRun(Order(id, rung, block, repeat, Purpose(purpose)), *rest)
        for id, rung, block, repeat, purpose, *rest in rows
    ]


# --- proposals --------------------------------------------------------------------------------

_PROPOSAL = """number, operator, outcome, reason, variant_id, idea, author, model, seconds,
    tokens_in, tokens_out, dollars, seen, created"""


def proposals(store: Store, after: int = 0) -> list[Proposed]:
    """The proposals with a number above `after`, in order."""
    return _proposed(store, "number > ?", after)


def first_proposal(store: Store, variant_id: str) -> Proposed | None:
    """The proposal that made this variant first; lineage hangs on it."""
    where = """number = (SELECT min(number) FROM proposals
        WHERE variant_id = ? AND outcome = 'variant')"""
    found = _proposed(store, where, variant_id)
    return found[0] if found else None


def children_of(store: Store, variant_id: str) -> list[Proposed]:
    """The first proposals of the variants this one is a parent of, in order."""
    where = """number IN (SELECT proposal_number FROM parents
            WHERE variant_id = ? AND role != 'ancestor')
        AND outcome = 'variant' AND NOT EXISTS (SELECT 1 FROM proposals AS earlier
            WHERE earlier.variant_id = proposals.variant_id AND earlier.outcome = 'variant'
            AND earlier.number < proposals.number)"""
    return _proposed(store, where, variant_id)


def proposal(store: Store, number: int) -> Proposal:
    """One proposal as it was recorded, source included. StoreError when there is none."""
    found = _proposed(store, "number = ?", number)
    if not found:
        raise StoreError(f"no proposal {number}")
    one = found[0]
    return Proposal(
        number=one.number,
        operator=one.operator,
        parents=one.parents,
        outcome=one.outcome,
        reason=one.reason,
        variant=None if one.variant_id is None else variant(store, one.variant_id),
        idea=one.idea,
        author=one.author,
        model=one.model,
        cost=one.cost,
        seen=one.seen,
    )


def next_proposal_number(store: Store) -> int:
    """The number of the proposal to come; the first one is 1."""
    return _count(store, "SELECT coalesce(max(number), 0) + 1 FROM proposals")


def _proposed(store: Store, where: str, value: object) -> list[Proposed]:
    parents: dict[int, list[Parent]] = {}
    sql = f"""SELECT proposal_number, variant_id, role FROM parents
        WHERE proposal_number IN (SELECT number FROM proposals WHERE {where})
        ORDER BY proposal_number, position"""
    for number, variant_id, role in store.query(sql, [value]):
        parents.setdefault(number, []).append(Parent(variant_id, role))
    sql = f"SELECT {_PROPOSAL} FROM proposals WHERE {where} ORDER BY number"
    rows = store.query(sql, [value])
    return [_one_proposed(row, tuple(parents.get(row[0], ()))) for row in rows]


def _one_proposed(row: tuple[Any, ...], parents: tuple[Parent, ...]) -> Proposed:
    number, operator, outcome, reason, variant_id, idea, author, model, *cost, seen, created = row
    return Proposed(
        number=number,
        operator=operator,
        parents=parents,
        outcome=Outcome(outcome),
        reason=reason,
        variant_id=variant_id,
        idea=idea,
        author=author,
        model=model,
        cost=Cost(*cost),
        seen=seen,
        created_at=created,
    )


# --- the campaign -----------------------------------------------------------------------------


def events(store: Store, after: int = 0, limit: int = 100) -> list[Event]:
    """The last `limit` events with an id above `after`, oldest first."""
    sql = "SELECT id, kind, text, created FROM events WHERE id > ? ORDER BY id DESC LIMIT ?"
    return [Event(*row) for row in reversed(store.query(sql, [after, limit]))]


def decisions(store: Store, kinds: Collection[str]) -> list[Decided]:
    """The decisions of these kinds, oldest first."""
    marks = ", ".join("?" * len(kinds))
    sql = f"SELECT id, kind, variant_id, detail, created FROM decisions WHERE kind IN ({marks}) ORDER BY id"
    rows = store.query(sql, list(kinds))
    return [Decided(id, kind, one, json.loads(text), at) for id, kind, one, text, at in rows]


def front(store: Store, rung: str) -> dict[str, str]:
    """The front of a rung as it stands: variant id to standing, the best first."""
    sql = "SELECT variant_id, standing FROM front WHERE rung = ? ORDER BY place"
    return dict(store.query(sql, [rung]))


def last_measurement_id(store: Store) -> int:
    """The id of the last measurement recorded; 0 when there is none."""
    return _count(store, "SELECT coalesce(max(id), 0) FROM measurements")


def spent(store: Store) -> Spent:
    """What the campaign has used up. A proposal costs what it says or, if that is more, what the
    calls under its number cost: a kill leaves calls, also in flight, whose number is used again.
    """
    ((proposed, variants),) = store.query(
        """SELECT count(*), count(DISTINCT CASE WHEN outcome = 'variant' THEN variant_id END)
        FROM proposals"""
    )
    ((tokens_in, tokens_out, dollars, unknown),) = store.query(
        """WITH calls AS (
            SELECT proposal_number AS number, sum(tokens_in) AS tokens_in,
                sum(tokens_out) AS tokens_out, total(dollars) AS dollars,
                sum(dollars IS NULL) AS unknown
            FROM llm_calls GROUP BY proposal_number
        )
        SELECT coalesce(sum(max(coalesce(p.tokens_in, 0), coalesce(c.tokens_in, 0))), 0),
            coalesce(sum(max(coalesce(p.tokens_out, 0), coalesce(c.tokens_out, 0))), 0),
            total(max(coalesce(p.dollars, 0), coalesce(c.dollars, 0))),
            coalesce(sum(CASE WHEN p.number IS NULL THEN c.unknown ELSE p.dollars IS NULL END), 0)
        FROM (SELECT number FROM proposals UNION SELECT number FROM calls) AS n
        LEFT JOIN proposals AS p ON p.number = n.number
        LEFT JOIN calls AS c ON c.number = n.number"""
    )
    ((measured, slot_seconds),) = store.query(
        "SELECT count(*), total(wall_seconds) FROM measurements"
    )
    return Spent(
        proposals=proposed,
        variants=variants,
        measurements=measured,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        dollars=dollars,
        price_unknown=unknown,
        slot_seconds=slot_seconds,
    )


def _text(store: Store, sql: str, values: Sequence[object] = ()) -> str | None:
    """The first column of the first row, or None."""
    rows = store.query(sql, values)
    return str(rows[0][0]) if rows else None


def _count(store: Store, sql: str) -> int:
    return int(store.query(sql)[0][0])
