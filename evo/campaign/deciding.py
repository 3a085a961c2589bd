"""Decisions as they are recorded and said."""

from __future__ import annotations

from collections.abc import Sequence

from evo.campaign.certifying import Decision, in_a_line
from evo.campaign.ladder.word import told
from evo.campaign.parts import Shared
from population.store import Store


class Decisions:
    """Takes decisions to the record lane and, where people should hear of them, to the board."""

    def __init__(self, shared: Shared, seed_id: str) -> None:
        self._shared = shared
        self._seed_id = seed_id

    def note(self, decision: Decision | None) -> None:
        """Record a decision; None is none."""
        if decision is not None:
            kind, variant_id, detail = decision.kind, decision.variant_id, decision.detail
            self._shared.recorder.submit(lambda store: store.add_decision(kind, variant_id, detail))

    def tell(self, decision: Decision | None) -> None:
        """Record a decision and say it; None is none."""
        if decision is not None:
            self.note(decision)
            self._shared.say("decision", in_a_line(decision, self._seed_id))

    def tell_ladder(self, decisions: Sequence[Decision]) -> None:
        """Record decisions of the ladder, all or none, and say them."""

        def write(store: Store) -> None:
            with store.transaction():
                for one in decisions:
                    store.add_decision(one.kind, one.variant_id, one.detail)

        self._shared.recorder.submit(write)
        for line in told(decisions):
            self._shared.say("decision", line)
