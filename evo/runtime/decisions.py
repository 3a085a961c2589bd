"""Decisions as they are recorded and said."""

from __future__ import annotations

from collections.abc import Sequence

from evo.runtime.components import Shared
from evo.runtime.user_decisions import told
from evo.search.certification import BEGUN, ENDED, FINAL, LEADERS, in_a_line
from population.reading import decisions
from population.statistics.stopping import WOULD_STOP
from population.store import Store
from population.types import Decision


class Decisions:
    """Takes decisions to the record lane and, where people should hear of them, to the board."""

    def __init__(self, shared: Shared, seed_id: str) -> None:
        self._shared = shared
        self._seed_id = seed_id

    def tell(self, decisions: Sequence[Decision]) -> None:
        """Record decisions, all or none, and say those that people should hear of."""
        if not decisions:
            return

        def write(store: Store) -> None:
            with store.transaction():
                for one in decisions:
                    store.add_decision(one.kind, one.variant_id, one.detail)

        self._shared.recorder.submit(write)
        lines = [line for one in decisions if (line := in_a_line(one, self._seed_id))]
        for line in [*lines, *told(decisions)]:
            self._shared.say("decision", line)


def decided_before(store: Store) -> list[Decision]:
    """The decisions of earlier processes, to go on from."""
    return [
        Decision(one.kind, one.variant_id or "", dict(one.detail))
        for one in decisions(store, (BEGUN, ENDED, LEADERS, FINAL, WOULD_STOP))
    ]
