"""What is remembered in words: ideas, judged by all children that tried them, and research notes."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from population.store import Store
from population.types import JudgedIdea as JudgedIdea
from population.types import Note as Note

_IDEA = "id, text, author, created, children, ok, failed, waiting"
_NOTE = "id, text, author, evidence, seen, created, edited"


def judged_ideas(store: Store, author: str | None = None) -> list[JudgedIdea]:
    """All ideas, or one author's, oldest first, each with how its children ended, without their effects."""
    where, values = ("WHERE author = ?", [author]) if author is not None else ("", [])
    rows = store.query(f"SELECT {_IDEA} FROM v_ideas {where} ORDER BY id", values)
    return [JudgedIdea(*row) for row in rows]


def idea_rows(store: Store) -> list[tuple[int, str, str, float]]:
    """Id, text, author and time of every idea, oldest first."""
    rows = store.query("SELECT id, text, author, created FROM ideas ORDER BY id")
    return [(id, text, author, created) for id, text, author, created in rows]


def transplanted_ideas(store: Store) -> dict[int, str]:
    """The bank's id of every idea that is from a bank, by its id here."""
    sql = "SELECT id, json_extract(origin, '$.id') FROM ideas WHERE origin IS NOT NULL ORDER BY id"
    return dict(store.query(sql))


def origin_of(store: Store, idea_id: int | None) -> dict[str, Any] | None:
    """What a bank said of an idea, its sources left out, and `bank`, its name; None for one of our own."""
    sql = "SELECT json_remove(origin, '$.before', '$.after') FROM ideas WHERE id = ?"
    rows = store.query(sql, [idea_id])
    return json.loads(rows[0][0]) if rows and rows[0][0] is not None else None


def ideas_by_variant(store: Store) -> dict[str, int]:
    """Which idea each variant tries, by its first proposal that names one."""
    sql = """SELECT variant_id, idea_id FROM proposals
        WHERE idea_id IS NOT NULL AND outcome = 'variant' ORDER BY number DESC"""
    return dict(store.query(sql))


def notes(store: Store) -> list[Note]:
    """The research notes that stand, oldest first."""
    rows = store.query(f"SELECT {_NOTE} FROM notes WHERE deleted IS NULL ORDER BY id")
    return [
        Note(id, text, author, tuple(json.loads(evidence)), *rest)
        for id, text, author, evidence, *rest in rows
    ]


def repairs_of(store: Store, variant_id: str, before: int | None = None) -> list[int]:
    """The numbers of the proposals that tried to repair this variant, those below `before` (None: all)."""
    sql = """SELECT p.number FROM proposals AS p
        JOIN parents ON parents.proposal_number = p.number
        WHERE parents.variant_id = ? AND parents.role = 'parent'
            AND p.operator = 'llm_repair' AND p.number < ? ORDER BY p.number"""
    return [row[0] for row in store.query(sql, [variant_id, before or 2**62])]


def recorded(store: Store, numbers: Collection[int]) -> set[int]:
    """Those of these proposals that have their row."""
    places = ",".join("?" * len(numbers))
    rows = store.query(f"SELECT number FROM proposals WHERE number IN ({places})", list(numbers))
    return {number for (number,) in rows}
