"""The two usual ways to use a model: n independent edits of the seed, and keep or discard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evo.benchmark.contestants.contract import BestSeen, Problem, Wish
from evo.benchmark.contestants.sources import Sources
from evo.benchmark.landscapes.table import Shown
from evo.benchmark.racing import RUNG
from operators.llm.settings import PromptSettings
from population.selection import Candidate
from population.types import Purpose, RunRequest

EDITS = {"llm_mutate": 1.0}


class FromModel(BestSeen):
    """Every run but the first is a model's edit: of the best so far, or always of the seed."""

    def __init__(self, problem: Problem, rng: np.random.Generator, of_the_best: bool) -> None:
        super().__init__()
        model = problem.model
        if model is None:
            raise ValueError("this contestant asks a model, and the benchmark names none")
        if not of_the_best:  # n times the same question: the outcomes of the others are not shown
            model = replace(model, prompt=PromptSettings(tokens=0))
        candidates = self._leader if of_the_best else list[Candidate]
        self._sources = Sources(
            problem, int(rng.integers(2**31)), EDITS, model=model, candidates=candidates
        )
        self._variant = self._best_variant = self._sources.history.seed_id

    def ask(self) -> Wish | None:
        """The seed first, then an edit; None when the model has no new one."""
        if self.best is not None:
            child = self._sources.propose()
            if child is None:
                return None
            self._variant = child
        return Wish(self._sources.settings[self._variant], 0)

    def tell(self, wish: Wish, shown: Shown) -> None:
        """Keep the edit if its one run is the best so far."""
        super().tell(wish, shown)
        self._sources.record(RunRequest(self._variant, RUNG, 0, 0, Purpose.SCREEN), shown)
        if self.best == wish.setting:
            self._best_variant = self._variant

    def _leader(self) -> list[Candidate]:
        known = self._sources.history.candidates(RUNG)
        return [one for one in known if one.variant_id == self._best_variant]


def best_of_n(problem: Problem, rng: np.random.Generator) -> FromModel:
    """n independent edits of the seed; the best single run wins."""
    return FromModel(problem, rng, of_the_best=False)


def greedy_llm(problem: Problem, rng: np.random.Generator) -> FromModel:
    """Keep or discard with a model, as in autoresearch: it is told what was tried, and a lower run is kept."""
    return FromModel(problem, rng, of_the_best=True)
