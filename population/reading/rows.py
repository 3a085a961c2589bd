"""Rows as single values."""

from __future__ import annotations

from collections.abc import Sequence

from population.store import Store


def text(store: Store, sql: str, values: Sequence[object] = ()) -> str | None:
    """The first column of the first row, or None."""
    rows = store.query(sql, values)
    return str(rows[0][0]) if rows else None


def count(store: Store, sql: str) -> int:
    """The first column of the first row, a number."""
    return int(store.query(sql)[0][0])
