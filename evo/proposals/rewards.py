"""The outcomes of the proposals so far, for the portfolio: gains as believed now, costs in runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import cache

import numpy as np

from evo.analysis.effects_of_edits import EditEffect
from operators.portfolio import MAX_PROPOSALS, RUN_DOLLARS, Arm, Portfolio, Reward
from population.reading import proposals
from population.run_history import RunHistory
from population.statistics.effects import expected_gain, weak_prior
from population.store import Store
from population.types import NOT_PROPOSED, Estimate, MeasurementRow, Outcome, ProposalRow

MIN_COST = 0.5  # runs; a proposal that gave no child still took its turn
LATEST = 200  # numbers: further behind the newest one no proposal comes back

Believed = Callable[[str], Estimate | None]  # of the first objective, by id


class RewardHistory:
    """Reads proposals as they are recorded; gains and costs are made anew each time. Thread-safe.

    `exact`: every run costs 1, whatever it took, so that the same rows give the same choice.
    """

    def __init__(
        self, portfolio: Portfolio, run_history: RunHistory, rung: str, exact: bool
    ) -> None:
        self._endpoints = portfolio.endpoints
        self._names = {one.name for one in portfolio.operators}
        self._run_history, self._rung, self._exact = run_history, rung, exact
        self._lock = threading.Lock()
        self._made: dict[int, ProposalRow] = {}

    def __call__(self, store: Store, as_of: int | None) -> list[Reward]:
        """The last proposals that still count, oldest first, by measurements with ids up to `as_of`."""
        with self._lock:
            made = self._read(store)[-MAX_PROPOSALS:]
        unit = 1.0 if self._exact else self._usual_seconds(as_of)
        believed = cache(
            lambda variant_id: self._believed(variant_id, as_of)
        )  # siblings share parents
        found = [self._measured(one, as_of, unit, believed) for one in made]
        gains = self._gains([gain for gain, _, _ in found], [var for _, var, _ in found], as_of)
        return [
            Reward(self._arm(one), gain, max(cost, MIN_COST))
            for one, gain, (_, _, cost) in zip(made, gains, found, strict=True)
        ]

    def _read(self, store: Store) -> list[ProposalRow]:
        """All proposals of our operators in order. They are recorded as they come back, not in order."""
        for one in proposals(store, after=max(self._made, default=0) - LATEST):
            self._made[one.number] = one
        return [one for _, one in sorted(self._made.items()) if one.operator in self._names]

    def _arm(self, one: ProposalRow) -> Arm:
        return Arm(one.operator, one.author if one.author in self._endpoints else "")

    def _measured(
        self, one: ProposalRow, as_of: int | None, unit: float, believed: Believed
    ) -> tuple[float, float, float]:
        """Difference to the better parent, its variance, and the cost in runs.

        The difference is NaN while the child waits, and minus infinity for no child or one that failed.
        """
        cost = (one.cost.dollars or 0.0) / RUN_DOLLARS
        if one.outcome is not Outcome.VARIANT or one.variant_id is None:
            return -math.inf, 0.0, cost
        rows = self._run_history.rows(self._rung, as_of, variant_id=one.variant_id)
        cost += sum(self._run_cost(row, unit) for row in rows)
        mine = believed(one.variant_id)
        if mine is None:
            return (-math.inf if rows else math.nan), 0.0, cost
        turned = self._run_history.objectives[0].turned
        parents = [believed(parent.variant_id) for parent in one.parents]
        known = [parent for parent in parents if parent is not None]
        best = min(known, key=lambda parent: turned(parent.mean), default=None)
        effect = EditEffect.between(mine, best)
        if effect.difference is None:
            return math.nan, 0.0, cost
        variance = math.nan if effect.se is None else effect.se**2
        return -turned(effect.difference), variance, cost

    def _run_cost(self, row: MeasurementRow, unit: float) -> float:
        if row.measurement.request.purpose in NOT_PROPOSED:
            return 0.0
        return 1.0 if self._exact else row.measurement.wall_seconds / unit

    def _believed(self, variant_id: str, as_of: int | None) -> Estimate | None:
        found = self._run_history.believed(variant_id, self._rung, as_of)
        return found.get(self._run_history.objectives[0].name)

    def _gains(
        self, differences: list[float], variances: list[float], as_of: int | None
    ) -> list[float]:
        """Expected gains; without known noise the differences that are gains."""
        noise = self._run_history.noise_sd(self._rung, self._run_history.objectives[0].name, as_of)
        gains = np.maximum(np.array(differences), 0.0)
        measured = np.isfinite(differences)
        if noise and measured.any():
            spread = np.nan_to_num(np.array(variances)[measured], nan=2 * noise**2)
            y = np.array(differences)[measured]
            spread = np.maximum(spread, 1e-12 * noise**2)
            gains[measured] = expected_gain(y, spread, weak_prior(noise))
        return [float(gain) for gain in gains]

    def _usual_seconds(self, as_of: int | None) -> float:
        """The median slot seconds of the last runs; 1 before there is one."""
        rows = self._run_history.rows(self._rung, as_of)[-MAX_PROPOSALS:]
        seconds = [row.measurement.wall_seconds for row in rows if row.measurement.wall_seconds > 0]
        return float(np.median(seconds)) if seconds else 1.0
