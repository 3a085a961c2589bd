"""What was proposed, by whom, from which parents."""

from __future__ import annotations

from typing import Any

from population.reading.variants import variant
from population.store import Store, StoreError
from population.types import Cost, Outcome, Parent, Proposal, ProposalRow

_PROPOSAL = """number, operator, outcome, reason, variant_id, idea, author, model, seconds,
    tokens_in, tokens_out, dollars, seen, created, idea_id,
    (SELECT coalesce(json_extract(origin, '$.bank'), '') FROM ideas WHERE ideas.id = idea_id),
    (SELECT coalesce(json_extract(origin, '$.author'), '') FROM ideas WHERE ideas.id = idea_id), island"""


def proposals(store: Store, after: int = 0) -> list[ProposalRow]:
    """The proposals with a number above `after`, in order."""
    return _proposed(store, "number > ?", after)


def first_proposal(store: Store, variant_id: str) -> ProposalRow | None:
    """The proposal that made this variant first; lineage follows it."""
    where = """number = (SELECT min(number) FROM proposals
        WHERE variant_id = ? AND outcome = 'variant')"""
    found = _proposed(store, where, variant_id)
    return found[0] if found else None


def unmeasured_proposals(
    store: Store, rung: str, as_of: int | None, most: int
) -> list[ProposalRow]:
    """The newest `most` that made a variant without a run at the rung, newest first.

    Runs that were lost do not count, nor those with an id above `as_of` (None: all count).
    """
    where = """outcome = 'variant' AND number IN (SELECT number FROM proposals AS p
        WHERE outcome = 'variant' AND NOT EXISTS (SELECT 1 FROM measurements AS m
            WHERE m.variant_id = p.variant_id AND m.rung = ? AND m.status != 'lost' AND m.id <= ?)
        ORDER BY number DESC LIMIT ?)"""
    last = 2**62 if as_of is None else as_of
    return _proposed(store, where, rung, last, most)[::-1]


def children_of(store: Store, variant_id: str) -> list[ProposalRow]:
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
        idea_id=one.idea_id,
        island=one.island,
    )


def next_proposal_number(store: Store) -> int:
    """The number of the proposal to come; the first one is 1."""
    return store.number("SELECT coalesce(max(number), 0) + 1 FROM proposals")


def _proposed(store: Store, where: str, *values: object) -> list[ProposalRow]:
    parents: dict[int, list[Parent]] = {}
    sql = f"""SELECT proposal_number, variant_id, role FROM parents
        WHERE proposal_number IN (SELECT number FROM proposals WHERE {where})
        ORDER BY proposal_number, position"""
    for number, variant_id, role in store.query(sql, list(values)):
        parents.setdefault(number, []).append(Parent(variant_id, role))
    sql = f"SELECT {_PROPOSAL} FROM proposals WHERE {where} ORDER BY number"
    rows = store.query(sql, list(values))
    return [_one_proposed(row, tuple(parents.get(row[0], ()))) for row in rows]


def _one_proposed(row: tuple[Any, ...], parents: tuple[Parent, ...]) -> ProposalRow:
    number, operator, outcome, reason, variant_id, idea, author, model, *rest = row
    *cost, seen, created, idea_id, bank, recorded_from, island = rest
    return ProposalRow(
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
        idea_id=idea_id,
        bank=bank or "",
        recorded_from=str(recorded_from or ""),
        island=island,
    )
