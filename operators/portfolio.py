"""Which operator goes next. Fixed weights: it has no state of its own, so there is none to resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from operators.operator import MayRest, Operator


class Portfolio:
    """Draws operators by their weights."""

    def __init__(self, operators: Sequence[Operator], weights: Mapping[str, float]) -> None:
        self.operators = tuple(operators)
        self.weights = {one.name: float(weights[one.name]) for one in self.operators}
        if not self.operators or any(not weight >= 0 for weight in self.weights.values()):
            raise ValueError("a portfolio needs operators, and weights of at least 0")

    def choose(
        self, rng: np.random.Generator, can: Callable[[Operator], bool] = lambda operator: True
    ) -> Operator | None:
        """An operator among those that can go now (their parents exist); None when none can."""
        able = [one for one in self._awake() if can(one)]
        if not able:
            return None
        shares = np.array([self.weights[one.name] for one in able])
        return able[int(rng.choice(len(able), p=shares / shares.sum()))]

    def rests(self) -> bool:
        """Whether every operator waits for its model."""
        return not self._awake()

    def _awake(self) -> list[Operator]:
        wanted = [one for one in self.operators if self.weights[one.name] > 0]
        return [one for one in wanted if not (isinstance(one, MayRest) and one.rests())]
