"""NSGA-II from DEAP's parts, as its own users put them together."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from evo.benchmark.contestants.contract import BestSeen, Problem, Wish, drawn
from evo.benchmark.landscapes.table import Setting, Shown
from population.selection import drawing_from

POPULATION = 20  # as Optuna's here; DEAP wants a multiple of four
CROSSOVER = 0.9  # how often a pair is crossed ...
SWAPPED = 0.5  # ... and the share of the dials that it then swaps


class GeneticNsga2(BestSeen):
    """NSGA-II (Deb et al. 2002) with uniform crossover and mutation, generation by generation."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        from deap import base

        super().__init__()
        self._dials, self._rng = problem.dials, rng
        weights = (-1.0,) * len(problem.objectives)
        self._fitness = type("Fitness", (base.Fitness,), {"weights": weights})
        first = [drawn(problem.dials, rng) for _ in range(POPULATION)]
        self._waiting = deque(self._individual(one) for one in first)
        self._parents: list[Any] = []
        self._children: list[Any] = []

    def ask(self) -> Wish:
        """The next of the generation; of a new one when all of the last were run."""
        if not self._waiting:
            self._next_generation()
        return Wish(tuple(self._waiting[0]))

    def tell(self, wish: Wish, shown: Shown) -> None:
        """The individual just asked for gets its fitness."""
        super().tell(wish, shown)
        individual = self._waiting.popleft()
        individual.fitness.values = shown.values
        self._children.append(individual)

    def _next_generation(self) -> None:
        from deap import tools

        with drawing_from(self._rng):
            self._parents = tools.selNSGA2(self._parents + self._children, POPULATION)
            chosen = tools.selTournamentDCD(self._parents, POPULATION)
        self._children = []
        for first, second in zip(chosen[::2], chosen[1::2], strict=True):
            self._waiting += [self._individual(one) for one in self._crossed(first, second)]

    def _crossed(self, first: Setting, second: Setting) -> list[Setting]:
        """Two settings, crossed or not, then each dial drawn anew with a chance of one in their number."""
        from deap import tools

        pair = [*first], [*second]
        tops = [len(dial.choices) - 1 for dial in self._dials]
        with drawing_from(self._rng):
            if self._rng.random() < CROSSOVER:
                tools.cxUniform(*pair, indpb=SWAPPED)
            for one in pair:
                tools.mutUniformInt(one, low=[0] * len(tops), up=tops, indpb=1 / len(tops))
        return [tuple(one) for one in pair]

    def _individual(self, setting: Setting) -> Any:
        """What DEAP works on: a list with a fitness."""
        individual = _Individual(setting)
        individual.fitness = self._fitness()
        return individual


class _Individual(list[int]):
    """The places of a setting; `fitness` is DEAP's."""

    fitness: Any
