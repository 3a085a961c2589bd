"""What the campaign did: events, decisions, the front as it stands, what was spent."""

from __future__ import annotations

import json
import math
from collections.abc import Collection

from population.store import Store
from population.types import DecisionRow, Estimate, Event, RequestRow, Spent


def events(store: Store, after: int = 0, limit: int = 100) -> list[Event]:
    """The last `limit` events with an id above `after` (-1: all of them), oldest first."""
    sql = "SELECT id, kind, text, created FROM events WHERE id > ? ORDER BY id DESC LIMIT ?"
    return [Event(*row) for row in reversed(store.query(sql, [after, limit]))]


def decisions(store: Store, kinds: Collection[str]) -> list[DecisionRow]:
    """The decisions of these kinds, oldest first."""
    marks = ", ".join("?" * len(kinds))
    sql = f"SELECT id, kind, variant_id, detail, created FROM decisions WHERE kind IN ({marks}) ORDER BY id"
    rows = store.query(sql, list(kinds))
    return [DecisionRow(id, kind, one, json.loads(text), at) for id, kind, one, text, at in rows]


def all_decisions(store: Store) -> list[DecisionRow]:
    """Every decision, oldest first."""
    rows = store.query("SELECT id, kind, variant_id, detail, created FROM decisions ORDER BY id")
    return [DecisionRow(id, kind, one, json.loads(text), at) for id, kind, one, text, at in rows]


def pending(store: Store) -> list[RequestRow]:
    """What was asked and is not taken yet, oldest first."""
    return _requests(store, "done IS NULL")


def requests_of(store: Store, kind: str) -> list[RequestRow]:
    """All that was ever asked of one kind, taken or not, oldest first."""
    return _requests(store, "kind = ?", kind)


def _requests(store: Store, where: str, *values: object) -> list[RequestRow]:
    sql = f"SELECT id, kind, detail, author, created FROM requests WHERE {where} ORDER BY id"
    rows = store.query(sql, list(values))
    return [RequestRow(id, kind, json.loads(text), *rest) for id, kind, text, *rest in rows]


def front(store: Store, rung: str) -> dict[str, str]:
    """The front of a rung as it stands: variant id to standing, the best first."""
    sql = "SELECT variant_id, standing FROM front WHERE rung = ? ORDER BY place"
    return dict(store.query(sql, [rung]))


def beliefs(store: Store, rung: str) -> dict[str, dict[str, Estimate]]:
    """What is believed of each variant at a rung, by objective; empty in a store older than this."""
    found: dict[str, dict[str, Estimate]] = {}
    if not store.query("SELECT 1 FROM sqlite_master WHERE name = 'beliefs'"):
        return found
    sql = "SELECT variant_id, metric, mean, sd, n FROM beliefs WHERE rung = ?"
    for variant_id, metric, mean, sd, n in store.query(sql, [rung]):
        one = Estimate(mean, math.nan if sd is None else sd, n)
        found.setdefault(variant_id, {})[metric] = one
    return found


def last_measurement_id(store: Store) -> int:
    """The id of the last measurement recorded; 0 when there is none."""
    return store.number("SELECT coalesce(max(id), 0) FROM measurements")


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
