"""Which failed children are worth a repair: somebody's idea, few tries, a parent still in use."""

from __future__ import annotations

from collections.abc import Collection

from evo.proposals.ideas import Judge
from population.lineage import Lineage
from population.memory import JudgedIdea, repairs_of
from population.reading import first_proposal
from population.run_history import RunHistory
from population.store import Store
from population.variant import OURSELVES, Parent, Purpose, Status

TRIES = 2  # repairs of one failed child, those without a result counted
DEEPEST = 2  # repairs of repairs
RECENT = 20  # of the last failures, older ones are left alone
WORSE = 2.0  # standard errors: an idea whose other children lose by more is given up
MENDABLE = {
    Status.CRASHED,
    Status.TIMED_OUT,
    Status.DIVERGED,
    Status.OUT_OF_MEMORY,
    Status.REJECTED,
}


class Repairs:
    """Finds the failed children at a rung that `llm_repair` may take."""

    def __init__(self, tally: RunHistory, lineage: Lineage, rung: str) -> None:
        self._tally, self._rung = tally, rung
        self._judge = Judge(tally, lineage, rung)

    def waiting(
        self, store: Store, people: Collection[str], number: int, as_of: int | None
    ) -> list[tuple[Parent, ...]]:
        """The failed child with what it was made from, for each repair that may be tried now.

        `people` may be parents, `number` is the proposal's; later ones count for nothing.
        """
        screens = self._tally.rows(self._rung, as_of, {Purpose.SCREEN})
        failed = [
            row.measurement.order.variant_id
            for row in screens
            if row.measurement.status in MENDABLE
        ][-RECENT:]
        if not failed:
            return []
        given_up = {one.id for one in self._judge.ideas(store, as_of) if _is_worse(one)}
        found = (
            self._parents(store, one, number, as_of, given_up) for one in dict.fromkeys(failed)
        )
        return [one for one in found if one is not None and one[1].variant_id in people]

    def _parents(
        self,
        store: Store,
        variant_id: str,
        number: int,
        as_of: int | None,
        given_up: Collection[int],
    ) -> tuple[Parent, ...] | None:
        made = first_proposal(store, variant_id)
        if made is None or made.author == OURSELVES or not made.parents:
            return None
        if made.idea_id in given_up or self._tally.believed(variant_id, self._rung, as_of):
            return None
        if len(repairs_of(store, variant_id, before=number)) >= TRIES:
            return None
        worked, depth = made.parents[0].variant_id, 0
        while not self._tally.believed(worked, self._rung, as_of):
            above = first_proposal(store, worked)
            depth += 1
            if depth >= DEEPEST or above is None or not above.parents:
                return None
            worked = above.parents[0].variant_id
        return (Parent(variant_id, "parent"), Parent(worked, "ancestor"))


def _is_worse(one: JudgedIdea) -> bool:
    if one.effect is None or one.effect_se is None:
        return False
    return one.effect > WORSE * one.effect_se and one.effect > 0
