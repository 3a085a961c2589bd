"""CatCMA with margin: one distribution over numbers of whole steps and over names."""

from __future__ import annotations

from typing import Any

import numpy as np

from evo.benchmark.contestants.contract import BestSeen, Problem, Wish
from evo.benchmark.landscapes.table import Dial, Setting, Shown


class CatCma(BestSeen):
    """CatCMAwM (Hamano et al. 2025) with its own defaults, told the first objective, a generation at once."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        from cmaes import CatCMAwM

        super().__init__()
        self._dials = problem.dials
        numbers = [range(len(one.choices)) for one in problem.dials if _counts(one)]
        names = [len(one.choices) for one in problem.dials if _chooses(one)]
        self._search = CatCMAwM(
            z_space=numbers or None, c_space=names or None, seed=int(rng.integers(2**31))
        )
        self._solution: Any = None
        self._told: list[tuple[Any, float]] = []

    def ask(self) -> Wish:
        """A draw from the distribution."""
        self._solution = self._search.ask()
        return Wish(self._setting(self._solution))

    def tell(self, wish: Wish, shown: Shown) -> None:
        """When a generation is complete, the distribution moves."""
        super().tell(wish, shown)
        self._told.append((self._solution, shown.values[0]))
        if len(self._told) == self._search.population_size:
            self._search.tell(self._told)
            self._told = []

    def _setting(self, solution: Any) -> Setting:
        numbers = iter(() if solution.z is None else solution.z)
        names = iter(() if solution.c is None else solution.c)
        places = list[int]()
        for dial in self._dials:
            if _counts(dial):
                places.append(int(next(numbers)))
            else:
                places.append(int(np.argmax(next(names))) if _chooses(dial) else 0)
        return tuple(places)


def _counts(dial: Dial) -> bool:
    """Whether it is a number to CatCMA; one of two values is better a choice, its authors say."""
    return dial.ordered and len(dial.choices) > 2


def _chooses(dial: Dial) -> bool:
    """Whether there is anything to choose."""
    return not _counts(dial) and len(dial.choices) > 1
