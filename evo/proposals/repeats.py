"""Who is better run again than a new child, as the surrogate of the leader's structure has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from evo.proposals.context import CampaignInfo
from evo.proposals.history import histories
from operators.operator import ParentView, ProposalFailed, Request
from operators.optimisers.optimiser import Space
from operators.optimisers.study import Fits
from operators.tune import study_of
from population.lineage import Lineage
from population.reading import source_of
from population.run_history import RunHistory
from population.store import Store

STREAM = 7  # of the campaign's random numbers: proposals have those with their own numbers alone


class Repeats:
    """Weighs repeats against new settings around the leader, by the rows alone; asking again costs nothing."""

    def __init__(
        self,
        run_history: RunHistory,
        lineage: Lineage,
        open_store: Callable[[], Store],
        campaign_info: CampaignInfo,
    ) -> None:
        self._run_history, self._open_store, self._at = run_history, open_store, campaign_info
        at = campaign_info
        self._history = histories(run_history, lineage, at.rung, at.budget, at.ranges)
        self._fits = Fits()
        self._known: tuple[int, tuple[str, ...] | None] = (-1, None)

    def __call__(self) -> Sequence[str] | None:
        """The variants to run again, best first; none: something new is better. None: it cannot say."""
        last = self._run_history.last_id()
        if self._known[0] != last:
            self._known = (last, self._chosen(last))
        return self._known[1]

    def _chosen(self, last: int) -> tuple[str, ...] | None:
        front = self._run_history.front(self._at.rung)
        if not front:
            return None
        rng = np.random.default_rng([self._at.campaign_seed, last, STREAM])
        with self._open_store() as store:
            leader = ParentView(front[0], "parent", source_of(store, front[0]))
            history = self._history(store, None)
            request = Request(0, (leader,), rng, history=history)
            try:
                study = study_of(request, Space.of(request), self._fits)
            except ProposalFailed:
                return None
            return study.repeats()
