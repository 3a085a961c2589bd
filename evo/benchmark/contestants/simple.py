"""Contestants of a few lines: random, the seed again and again, greedy, local search, regularised evolution."""

from __future__ import annotations

from collections import deque

import numpy as np

from evo.benchmark.contestants.contract import BestSeen, Problem, Wish, changed, drawn, neighbours
from evo.benchmark.landscapes.table import Setting, Shown

POPULATION, SAMPLE = 20, 5  # of regularised evolution; 50 and 10 did as well at 300 runs


class Random(BestSeen):
    """Draws every setting anew."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        super().__init__()
        self._problem, self._rng = problem, rng

    def ask(self) -> Wish:
        """Any setting."""
        return Wish(drawn(self._problem.dials, self._rng))


class SeedAgain(BestSeen):
    """Changes nothing: what its best run shows beyond the seed's true value is luck."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        super().__init__()
        self._start = problem.start

    def ask(self) -> Wish:
        """The seed."""
        return Wish(self._start)


class Greedy(BestSeen):
    """Keep or discard, as autoresearch does: one run a change, kept when it is strictly better."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        super().__init__()
        self._problem, self._rng = problem, rng

    def ask(self) -> Wish:
        """The seed first, then a change of the best."""
        if self.best is None:
            return Wish(self._problem.start)
        return Wish(changed(self.best, self._problem.dials, self._rng))


class LocalSearch(BestSeen):
    """To the first better neighbour, one run each, until there is none; then again from a random setting."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        super().__init__()
        self._dials, self._rng = problem.dials, rng
        self._here, self._level = problem.start, float("inf")
        self._waiting = deque([problem.start])

    def ask(self) -> Wish:
        """A neighbour that was never run, else a new start."""
        while self._waiting and self._waiting[0] in self.seen:
            self._waiting.popleft()
        if not self._waiting:
            self._waiting.append(drawn(self._dials, self._rng))
            self._level = float("inf")
        return Wish(self._waiting[0])

    def tell(self, wish: Wish, shown: Shown) -> None:
        """Move there if it is better."""
        super().tell(wish, shown)
        self._waiting.popleft()
        if shown.values[0] < self._level:
            self._here, self._level = wish.setting, shown.values[0]
            self._waiting = deque(neighbours(self._here, self._dials, self._rng))


class RegularisedEvolution(BestSeen):
    """Real et al. 2019 (AAAI): the best of a few is changed once, the oldest dies."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        super().__init__()
        self._problem, self._rng = problem, rng
        self._living: deque[tuple[float, Setting]] = deque(maxlen=POPULATION)

    def ask(self) -> Wish:
        """A random setting until the population is full, then a child of a tournament's winner."""
        if len(self._living) < POPULATION:
            return Wish(drawn(self._problem.dials, self._rng))
        chosen = self._rng.choice(len(self._living), SAMPLE, replace=False)
        _, parent = min(self._living[int(one)] for one in chosen)
        return Wish(changed(parent, self._problem.dials, self._rng))

    def tell(self, wish: Wish, shown: Shown) -> None:
        """The newcomer joins; the deque lets the oldest go."""
        super().tell(wish, shown)
        self._living.append((shown.values[0], wish.setting))
