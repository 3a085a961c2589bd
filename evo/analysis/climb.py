"""Everything about a campaign's ladder in one value: what `evo graduates` shows and its JSON."""

from __future__ import annotations

from dataclasses import dataclass

from evo.analysis.ladder import LadderStep, RungCost, Terms, cost_by_rung, steps
from evo.analysis.reaching import Reaching, reaching
from evo.analysis.record import Record
from evo.analysis.transfer import SourceOf, Transfer, transfer


@dataclass(frozen=True, slots=True)
class Climb:
    """The ladder: who stands where, what transferred, how long the best needs, and what it all cost."""

    rungs: tuple[str, ...]
    metric: str
    steps: tuple[LadderStep, ...]
    transfer: Transfer | None
    reaching: Reaching | None
    cost: tuple[RungCost, ...]


def climb(record: Record, terms: Terms, source_of: SourceOf) -> Climb:
    """The ladder of what is recorded so far."""
    return Climb(
        rungs=record.rungs,
        metric=record.objective.name,
        steps=tuple(steps(record, terms)),
        transfer=transfer(record, source_of),
        reaching=reaching(record),
        cost=tuple(cost_by_rung(record)),
    )
