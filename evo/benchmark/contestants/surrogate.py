"""The surrogate of `tune` alone: no lineage, no operators, no beliefs but its own."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cache

import numpy as np

from evo.benchmark.contestants.contract import Problem, Wish
from evo.benchmark.contestants.sources import setting_of, source_of
from evo.benchmark.fronts import nondominated
from evo.benchmark.landscapes.table import Setting, Shown
from operators.operator import KnobSetting, Left, RunState
from operators.optimisers.optimiser import Space
from operators.optimisers.study import Fits, Study
from operators.source.constants import constants, with_settings
from operators.source.knobs import read_knobs

STRUCTURE = "the only one"
PRIMARY_SHARE = 0.25  # of the suggestions with several objectives, for the error alone


class SurrogateAlone:
    """Asks for what the study of all runs wants next: a new setting, or one of the old ones again."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        self._problem, self._rng, self._fits = problem, rng, Fits()
        self._source = source_of(problem.dials, problem.start)
        self._knobs = read_knobs(self._source)
        self._runs: list[tuple[Setting, Shown]] = []
        self._study: Study | None = None

    def ask(self) -> Wish | None:
        """The seed first, then what the study wants; None when there is nothing left to try."""
        if not self._runs:
            return Wish(self._problem.start)
        study = self._study = self._studied()
        several = len(self._problem.objectives) > 1
        if not several and (again := study.repeats()):
            return Wish(_setting_of(again[0]))
        values = next(study.suggestions(several and self._rng.random() >= PRIMARY_SHARE), None)
        if values is None:
            return None
        source = with_settings(self._source, self._knobs, values)
        return Wish(setting_of(self._problem.dials, source))

    def tell(self, wish: Wish, shown: Shown) -> None:
        """Keep the run."""
        self._runs.append((wish.setting, shown))

    def recommend(self) -> Setting:
        """The best believed when it was last looked at."""
        believed = self._believed()
        return min(believed, key=lambda one: believed[one])

    def believed(self) -> float:
        """What is believed of it."""
        return min(self._believed().values())

    def recommend_set(self) -> dict[Setting, tuple[float, ...]]:
        """The settings that no other is believed to dominate; all but the error has no noise."""
        shown = {setting: one.values for setting, one in self._runs}
        found = {one: (error, *shown[one][1:]) for one, error in self._believed().items()}
        settings = list(found)
        return {
            settings[at]: found[settings[at]] for at in nondominated(np.array(list(found.values())))
        }

    def _believed(self) -> dict[Setting, float]:
        study = self._study or self._studied()
        return {_setting_of(name): mean for name, (mean, _) in study.believed().items()}

    def _studied(self) -> Study:
        space = Space(
            self._knobs,
            frozenset(),
            {knob.name: knob.value for knob in self._knobs},
            self._settings(len(self._runs)),
        )
        seconds = sum(shown.seconds for _, shown in self._runs)
        left = Left(self._problem.seconds - seconds, self._problem.runs - len(self._runs))
        return Study(space, self._rng, self._settings, left, self._fits)

    def _settings(self, until: int) -> list[KnobSetting]:
        """What the runs up to this number showed."""
        by_setting: dict[Setting, list[int]] = defaultdict(list)
        for row, (setting, _) in enumerate(self._runs[:until]):
            by_setting[setting].append(row)
        return [self._seen(setting, tuple(rows)) for setting, rows in by_setting.items()]

    @cache  # noqa: B019 - as long as its contestant
    def _seen(self, setting: Setting, rows: tuple[int, ...]) -> KnobSetting:
        shown = [self._runs[row][1] for row in rows]
        values = np.array([one.values for one in shown])
        means = tuple(float(one) for one in values.mean(axis=0))
        return KnobSetting(
            variant_id=" ".join(map(str, setting)),
            structure=STRUCTURE,
            constants=constants(source_of(self._problem.dials, setting)),
            state=RunState.SCORED,
            value=means[0],
            sd=math.nan,
            n=len(rows),
            measured=means,
            squares=float(np.var(values[:, 0]) * len(rows)),
            seconds=shown[0].seconds,
            row=rows[0] + 1,
        )


def _setting_of(variant_id: str) -> Setting:
    return tuple(map(int, variant_id.split()))
