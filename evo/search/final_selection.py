"""The race of the leaders: when the search is over, a held-back share of its runs settles who led.

The search believes in variants that were lucky as well as good. Its leaders run side by side on blocks new
to all of them, and the worse half leaves, round after round. Who wins rests on rows that nobody was asked
before; what the search believed counts as far as it differs from what the same runs show on the rows that are
always asked. Its state is one decision and the history's rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from evo.search.certification import LEADERS
from population.metrics import claim_metric
from population.run_history import RunHistory
from population.statistics.race import Race, race
from population.types import (
    SITE,
    Decision,
    Estimate,
    Measurement,
    Purpose,
    RunKey,
    RunRequest,
    Status,
)

Taken = Callable[[RunKey], bool]


class FinalRace:
    """The leaders' race at the proxy: at most `leaders`, in `share` of the runs that searched."""

    def __init__(
        self,
        leaders: int,
        share: float,
        history: RunHistory,
        rung: str,
        decided: Sequence[Decision] = (),
    ) -> None:
        self._leaders, self._share, self._history, self._rung = leaders, share, history, rung
        self._begun: Decision | None = None
        for decision in decided:
            self.take(decision)

    def take(self, decision: Decision) -> None:
        """A decision counts from now on; other kinds change nothing."""
        if decision.kind == LEADERS:
            self._begun = decision

    def begin(self, searched: int, seen: int) -> Decision | None:
        """Name the leaders; None while `seen`, the search's last row, is what the last race began from.

        `searched`: runs that the search has made. Fewer than two leaders or runs: nothing to settle.
        """
        if self._begun is not None and self._begun.detail["seen"] >= seen:
            return None
        runs = int(self._share * searched)
        leaders = self._believed_best()[: min(self._leaders, runs)]
        if len(leaders) < 2:
            return None
        objective = self._history.objectives[0]
        found = {one: self._history.believed(one, self._rung) for one in leaders}
        detail = {
            "leaders": {
                one: [objective.to_minimise(believed), believed[objective.name].n]
                for one, believed in found.items()
            },
            "first_block": self._history.first_fresh_block(self._rung, leaders),
            "runs": runs,
            "seen": seen,
        }
        return Decision(LEADERS, leaders[0], detail)

    def next_request(self, taken: Taken) -> RunRequest | None:
        """The next run of the race; None when all of its round are under way or it is over."""
        state = self._state()
        first = self._begun.detail["first_block"] if self._begun is not None else 0
        for variant_id, block in state.to_run if state is not None else ():
            request = RunRequest(variant_id, self._rung, first + block, 0, Purpose.RACE)
            if not taken(request.key):
                return request
        return None

    def winner(self) -> str | None:
        """Who won the last race; None before it has ended, or when there was nothing to settle."""
        state = self._state()
        return (
            state.winner
            if state is not None and not self._history.is_vetoed(state.winner)
            else None
        )

    def _believed_best(self) -> list[str]:
        """Who may be a parent, the seed left out: the feasible, best first objective first."""
        seed_id = self._history.seed_id
        able = [one for one in self._history.candidates(self._rung) if one.variant_id != seed_id]
        least = min((one.violation for one in able), default=0.0)
        found = [(one.values[0], one.variant_id) for one in able if one.violation == least]
        return [variant_id for _, variant_id in sorted(found)]

    def _state(self) -> Race | None:
        if self._begun is None:
            return None
        detail = self._begun.detail
        believed = {
            one: Estimate(mean, math.nan, int(n)) for one, (mean, n) in detail["leaders"].items()
        }
        runs = {one: self._runs(one, detail["first_block"]) for one in believed}
        asked = self._history.objectives[0].name
        metric = claim_metric(
            asked,
            (run for of in runs.values() for run in of.values() if run.status is Status.OK),
        )
        return race(
            tuple(believed),
            detail["runs"],
            {one: self._scores(of, metric) for one, of in runs.items()},
            believed,
            {one: self._scores(of, asked) for one, of in runs.items()},
        )

    def _runs(self, variant_id: str, first_block: int) -> dict[int, Measurement]:
        """By block, counted from the race's first on."""
        rows = self._history.rows(self._rung, purposes={Purpose.RACE}, variant_id=variant_id)
        here = range(first_block, SITE)
        runs = [row.measurement for row in rows if row.measurement.request.block in here]
        return {run.request.block - first_block: run for run in runs}

    def _scores(self, runs: Mapping[int, Measurement], metric: str) -> dict[int, float]:
        """Turned so that lower is better; a run that failed is infinitely bad."""
        turned = self._history.objectives[0].turned
        return {
            block: turned(run.metrics[metric]) if run.status is Status.OK else math.inf
            for block, run in runs.items()
        }
