"""The outcomes of the proposals so far, for the portfolio: gains as believed now, costs in runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import cache
from itertools import takewhile

import numpy as np

from evo.analysis.effects_of_edits import EditEffect
from operators.portfolio import MAX_PROPOSALS, RUN_DOLLARS, Arm, Portfolio, Reward
from operators.registry import CLASSICAL, CONTROLS
from population.reading import proposals
from population.reading.traces import last_replies
from population.run_history import RunHistory
from population.statistics.effects import expected_gain, weak_prior
from population.store import Store
from population.types import NOT_PROPOSED, Estimate, MeasurementRow, Outcome, Parent, ProposalRow

MIN_COST = 0.5  # runs; a proposal that gave no child still took its turn
MAX_CHILDREN_BETWEEN = 8  # of two questions to which the answers were the same
LATEST = 200  # numbers: further behind the newest one no proposal comes back

ALONE = {*CLASSICAL, *CONTROLS}  # operators that ask nobody
Question = tuple[str, tuple[Parent, ...]]  # an operator, and what it is to work on
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
        self._said: dict[
            int, int | None
        ] = {}  # by proposal: its last answer's hash; None: without one

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

    def stuck(self, store: Store) -> frozenset[Question]:
        """What is not to be asked now: a model gave the same useless answer to it again and again.

        After the second of them it takes one new child, of anyone, until it is asked again, then two, four
        and eight: a prompt tells of children, and a model that is asked the same says the same.
        """
        with self._lock:
            made = self._read(store)
            children = [one.number for one in made if one.outcome is Outcome.VARIANT]
            useless: dict[Question, list[int]] = {}
            for one in made:
                question = one.operator, one.parents
                if one.outcome is Outcome.VARIANT:
                    useless.pop(question, None)
                elif one.operator not in ALONE:
                    useless.setdefault(question, []).append(one.number)
            again = {question: numbers for question, numbers in useless.items() if len(numbers) > 1}
            self._hear(store, [number for numbers in again.values() for number in numbers])
            return frozenset(
                question
                for question, numbers in again.items()
                if (alike := self._alike(numbers)) > 1
                and sum(child > numbers[-1] for child in children)
                < min(2 ** (alike - 2), MAX_CHILDREN_BETWEEN)
            )

    def _hear(self, store: Store, numbers: list[int]) -> None:
        """Remember what was said last in these proposals, as far as that is not known."""
        wanted = [one for one in numbers if one not in self._said]
        told = last_replies(store, wanted) if wanted else {}
        for one in wanted:
            reply = told.get(one)
            self._said[one] = None if reply is None else hash(reply)

    def _alike(self, numbers: list[int]) -> int:
        """How many of the last proposals ended with the same words; 0 where nothing was said."""
        last = self._said[numbers[-1]]
        if last is None:
            return 0
        return len(list(takewhile(lambda one: self._said[one] == last, reversed(numbers))))

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
