"""What a running campaign knows, in memory: every measurement in short, and who descends from whom.

It is filled from the store when a campaign opens and grows by one row a measurement, so that a decision
costs no query; the store stays the only truth.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from population.archive import Constraint, Objective, admissible, pareto_front, standings, violation
from population.records import FrontMember, Measured
from population.selection import Candidate
from population.statistics import estimates
from population.variant import Estimate, Order, Purpose, Status

SEARCH = frozenset({Purpose.CALIBRATE, Purpose.SCREEN, Purpose.REMEASURE})

Beliefs = dict[str, dict[str, Estimate]]


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a measurement without its purpose."""

    variant_id: str
    rung: str
    block: int
    repeat: int


def key_of(order: Order) -> Key:
    """The key that this order will be recorded under."""
    return Key(order.variant_id, order.rung, order.block, order.repeat)


class Tally:
    """Measurements in short, by rung, in the order they were recorded. Thread-safe."""

    def __init__(
        self, objectives: Sequence[Objective], seed_id: str, constraints: Sequence[Constraint] = ()
    ) -> None:
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self.seed_id = seed_id
        self._lock = threading.RLock()
        self._last_id = 0
        self._rows: dict[str, list[Measured]] = defaultdict(list)
        self._keys: dict[Key, Status] = {}
        self._lost: Counter[Key] = Counter()
        self._purposes: Counter[tuple[str, Purpose]] = Counter()
        self._cache: dict[tuple[str, int | None, frozenset[Purpose]], Beliefs] = {}

    def add(self, row: Measured) -> None:
        """Take in one recorded measurement; a lost one only counts as an attempt."""
        order = row.measurement.order
        with self._lock:
            if row.measurement.status is Status.LOST:
                self._lost[key_of(order)] += 1
                return
            self._last_id = max(self._last_id, row.id)
            self._rows[order.rung].append(row)
            self._keys[key_of(order)] = row.measurement.status
            self._purposes[order.rung, order.purpose] += 1
            self._cache.clear()

    def rungs(self) -> list[str]:
        """The rungs that something was measured at."""
        with self._lock:
            return list(self._rows)

    def last_id(self) -> int:
        """The id of the newest row, 0 when there is none."""
        with self._lock:
            return self._last_id

    def measured(self, key: Key) -> bool:
        """Whether this run is recorded."""
        with self._lock:
            return key in self._keys

    def attempts(self, key: Key) -> int:
        """How often this run was lost."""
        with self._lock:
            return self._lost[key]

    def count(self, rung: str, purpose: Purpose) -> int:
        """Runs recorded at a rung for a purpose."""
        with self._lock:
            return self._purposes[rung, purpose]

    def rows(
        self,
        rung: str,
        upto: int | None = None,
        purposes: Collection[Purpose] | None = None,
        variant_id: str | None = None,
    ) -> list[Measured]:
        """Rows of a rung in order, none with an id above `upto`."""
        with self._lock:
            return [
                row
                for row in self._rows[rung]
                if (upto is None or row.id <= upto)
                and (purposes is None or row.measurement.order.purpose in purposes)
                and (variant_id is None or row.measurement.order.variant_id == variant_id)
            ]

    def blocks(
        self, variant_id: str, rung: str, purposes: Collection[Purpose] | None = None
    ) -> list[int]:
        """The blocks a variant has a row on, ascending."""
        rows = self.rows(rung, purposes=purposes, variant_id=variant_id)
        return sorted({row.measurement.order.block for row in rows})

    def beliefs(
        self, rung: str, upto: int | None = None, purposes: Collection[Purpose] = SEARCH
    ) -> Beliefs:
        """Estimates by variant and metric from the runs made for these purposes."""
        wanted = (rung, upto, frozenset(purposes))
        with self._lock:
            if wanted not in self._cache:
                self._cache[wanted] = estimates(self.rows(rung, upto, purposes), self.seed_id)
            return self._cache[wanted]

    def front(
        self, rung: str, upto: int | None = None, purposes: Collection[Purpose] = SEARCH
    ) -> list[str]:
        """The Pareto front at a rung, best first objective first; empty before the seed has a score."""
        beliefs = self.beliefs(rung, upto, purposes)
        if self.seed_id not in beliefs:
            return []
        return pareto_front(beliefs, self.objectives, beliefs[self.seed_id], self.constraints)

    def members(self, rung: str, purposes: Collection[Purpose] = SEARCH) -> list[FrontMember]:
        """The front with each member's standing and its estimate of the first objective."""
        front, beliefs = self.front(rung, None, purposes), self.beliefs(rung, None, purposes)
        standing = standings(front, {one: len(self.blocks(one, rung)) for one in front})
        first = self.objectives[0].name
        return [FrontMember(one, standing[one], beliefs[one][first]) for one in front]

    def candidates(self, rung: str, upto: int | None = None) -> list[Candidate]:
        """Every variant that may be a parent, in the order of first measurement."""
        beliefs = self.beliefs(rung, upto)
        if self.seed_id not in beliefs:
            return []
        seed, front = beliefs[self.seed_id], set(self.front(rung, upto))
        return [
            Candidate(
                variant_id=variant_id,
                values=tuple(objective.to_minimise(found) for objective in self.objectives),
                on_front=variant_id in front,
                violation=violation(found, self.constraints, seed),
            )
            for variant_id, found in beliefs.items()
            if admissible(found, self.objectives, seed)
        ]
