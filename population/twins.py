"""Which runs of a variant left the same thing behind."""

from __future__ import annotations

from population.store import Store
from population.types import RunRequest


def block_with_fact(store: Store, order: RunRequest, name: str, value: str) -> int | None:
    """The first other block of an order's variant and rung whose `ok` row holds this fact, or None."""
    rows = store.query(
        """SELECT block FROM measurements WHERE variant_id = ? AND rung = ? AND block != ?
        AND status = 'ok' AND id NOT IN (SELECT measurement_id FROM voids)
        AND json_extract(facts, '$.' || ?) = ? ORDER BY id LIMIT 1""",
        [order.variant_id, order.rung, order.block, name, value],
    )
    return int(rows[0][0]) if rows else None
