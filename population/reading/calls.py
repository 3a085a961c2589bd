"""What was asked of models."""

from __future__ import annotations

import json

from population.store import Store
from population.types import LlmCallRow

# a proposal that a kill cut off leaves its calls, and its number to the next, perhaps of another model
_CALLS = """SELECT c.proposal_number, coalesce(p.operator, ''), c.parts, c.endpoint, c.model, c.outcome,
        c.tokens_in, c.tokens_out, c.dollars, c.seconds
    FROM llm_calls AS c
    LEFT JOIN proposals AS p ON p.number = c.proposal_number AND p.model = c.model
    WHERE c.outcome != 'asked'"""


def calls(store: Store, proposal_number: int | None = None) -> list[LlmCallRow]:
    """The requests that have ended, in order: of one proposal, or all."""
    wanted = "" if proposal_number is None else " AND c.proposal_number = ?"
    values = [] if proposal_number is None else [proposal_number]
    rows = store.query(f"{_CALLS}{wanted} ORDER BY c.id", values)
    return [LlmCallRow(number, by, json.loads(parts), *rest) for number, by, parts, *rest in rows]
