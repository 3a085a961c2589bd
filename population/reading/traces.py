"""What runs and requests left beside their scores, for a whole campaign in one pass."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from population.store import Store
from population.types import SITE, LlmCallRow, RunRequest


@dataclass(frozen=True, slots=True)
class Trace:
    """What one run left: (progress 0..1, loss in nats) as the variant told them, and its last words."""

    curve: tuple[tuple[float, float], ...]
    log_tail: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to a model and its answer, each shortened to what was asked for."""

    model: str
    outcome: str
    prompt: str
    reply: str


def traces(
    store: Store, most_points: int, most_characters: int, of: str | None = None
) -> dict[int, Trace]:
    """By measurement, of one variant or of all: the curve thinned to `most_points`, the end of the log."""
    wanted, values = ("", []) if of is None else ("WHERE variant_id = ?", [of])
    sql = f"SELECT id, curve, substr(log_tail, -?) FROM measurements {wanted} ORDER BY id"
    return {
        id: Trace(_thinned(json.loads(curve), most_points), log or "")
        for id, curve, log in store.query(sql, [most_characters, *values])
    }


def first_curve(
    store: Store, variant_id: str, rung: str, most_points: int
) -> tuple[tuple[float, float], ...]:
    """The curve of a variant's first run at a rung that left one: (progress, loss in nats); () for none."""
    sql = """SELECT curve FROM measurements WHERE variant_id = ? AND rung = ? AND curve != '[]'
        AND status = 'ok' ORDER BY id LIMIT 1"""
    rows = store.query(sql, [variant_id, rung])
    return _thinned(json.loads(rows[0][0]), most_points) if rows else ()


def exchanges(
    store: Store, most_characters: int, of: int | None = None
) -> dict[int, list[Exchange]]:
    """By proposal, of one or of all: its requests to models in order, those for no proposal left out."""
    wanted, values = ("> 0", []) if of is None else ("= ?", [of])
    sql = f"""SELECT proposal_number, model, outcome, substr(prompt, 1, ?), substr(reply, 1, ?)
        FROM llm_calls WHERE proposal_number {wanted} ORDER BY id"""
    found: dict[int, list[Exchange]] = {}
    for number, *rest in store.query(sql, [most_characters, most_characters, *values]):
        found.setdefault(number, []).append(Exchange(*rest))
    return found


def facts(store: Store) -> list[tuple[Mapping[str, str], int]]:
    """What held the runs, and how many runs by it; most runs first."""
    sql = "SELECT facts, count(*) AS runs FROM measurements GROUP BY facts ORDER BY runs DESC"
    return [(json.loads(text), runs) for text, runs in store.query(sql)]


def _thinned(points: list[list[float | None]], most: int) -> tuple[tuple[float, float], ...]:
    """Every k-th point and the last one; points that are no numbers are left out."""
    known = [(p, loss) for p, loss, _ in points if _finite(p) and _finite(loss)]
    step = max(1, math.ceil(len(known) / most))
    kept = known[::step]
    if known and kept[-1] != known[-1]:
        kept.append(known[-1])
    return tuple((round(float(p or 0), 4), round(float(loss or 0), 4)) for p, loss in kept)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def last_replies(store: Store, numbers: Collection[int]) -> dict[int, str]:
    """By proposal: the last answer, if there was one, cut off or refusing ones included."""
    marks = ", ".join("?" * len(numbers))
    sql = f"""SELECT proposal_number, reply FROM llm_calls
        WHERE proposal_number IN ({marks}) AND reply != '' AND (outcome = 'ok'
            OR outcome LIKE 'the answer was cut off%' OR outcome LIKE 'the model refused%')
        ORDER BY id"""
    return dict(store.query(sql, list(numbers)))


# -- Which runs of a variant left the same thing behind.


def block_with_fact(store: Store, request: RunRequest, name: str, value: str) -> int | None:
    """The first other block of an order's variant and rung whose `ok` row holds this fact, or None.

    Of this campaign's own rows: what others say of their blocks speaks against nobody.
    """
    rows = store.query(
        """SELECT block FROM measurements WHERE variant_id = ? AND rung = ? AND block != ?
        AND block < ? AND status = 'ok' AND id NOT IN (SELECT measurement_id FROM voids)
        AND json_extract(facts, '$.' || ?) = ? ORDER BY id LIMIT 1""",
        [request.variant_id, request.rung, request.block, SITE, name, value],
    )
    return int(rows[0][0]) if rows else None


# -- What was asked of models.


# a proposal that a kill cut off leaves its calls, and its number to the next, perhaps of another model
_CALLS = """SELECT c.proposal_number, coalesce(p.operator, ''), c.parts, c.endpoint, c.model, c.outcome,
        c.tokens_in, c.tokens_out, c.dollars, c.seconds, c.again_because, c.estimated
    FROM llm_calls AS c
    LEFT JOIN proposals AS p ON p.number = c.proposal_number AND p.model = c.model
    WHERE c.outcome != 'asked'"""


def calls(store: Store, proposal_number: int | None = None) -> list[LlmCallRow]:
    """The requests that have ended, in order: of one proposal, or all."""
    wanted = "" if proposal_number is None else " AND c.proposal_number = ?"
    values = [] if proposal_number is None else [proposal_number]
    rows = store.query(f"{_CALLS}{wanted} ORDER BY c.id", values)
    found = [LlmCallRow(number, by, json.loads(parts), *rest) for number, by, parts, *rest in rows]
    return [replace(one, estimated=bool(one.estimated)) for one in found]
