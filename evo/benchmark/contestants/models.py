"""The two usual ways to use edits, a model's or a bank's: n of the seed alone, and keep or discard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evo.benchmark.contestants.contract import BestSeen, Problem, Wish
from evo.benchmark.contestants.sources import Sources
from evo.benchmark.landscapes.table import Setting, Shown
from evo.benchmark.racing import RUNG
from operators.llm.settings import PromptSettings
from population.selection import Candidate
from population.types import Purpose, RunRequest

OF_A_MODEL, OF_A_BANK = {"llm_mutate": 1.0}, {"transplant": 1.0}


class FromEdits(BestSeen):
    """Every run but the first is an edit: of the best so far, or always of the seed."""

    def __init__(self, problem: Problem, rng: np.random.Generator, of_the_best: bool) -> None:
        super().__init__()
        model = problem.model
        if model is None and problem.edits is None:
            raise ValueError("this contestant asks a model, and the benchmark names none")
        if model is not None and not of_the_best:  # n times the same question: no outcomes shown
            model = replace(model, prompt=PromptSettings(tokens=0))
        self._sources = Sources(
            problem,
            int(rng.integers(2**31)),
            OF_A_MODEL if problem.edits is None else OF_A_BANK,
            model=model,
            candidates=self._leader if of_the_best else list[Candidate],
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

    def way(self, setting: Setting) -> list[str]:
        """The edits that led from the seed to a setting."""
        return self._sources.way(setting)

    def _leader(self) -> list[Candidate]:
        known = self._sources.history.candidates(RUNG)
        return [one for one in known if one.variant_id == self._best_variant]


def best_of_n(problem: Problem, rng: np.random.Generator) -> FromEdits:
    """n independent edits of the seed; the best single run wins."""
    return FromEdits(problem, rng, of_the_best=False)


def keep_or_discard(problem: Problem, rng: np.random.Generator) -> FromEdits:
    """As in autoresearch: the best so far is edited, a lower run is kept. A model is told what was tried."""
    return FromEdits(problem, rng, of_the_best=True)
