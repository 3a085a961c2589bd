"""Optuna's samplers as contestants, each as it is published and with its own defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from evo.benchmark.contestants.contract import BestSeen, Problem, Wish
from evo.benchmark.landscapes.table import Dial, Setting, Shown

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

NSGA2_POPULATION = 20  # the default of 50 leaves six generations of 300 runs


class Sampled(BestSeen):
    """Any of Optuna's samplers, told every objective.

    `numeric`: it knows neither names nor several objectives, so each choice is a number to be largest, and it
    is told the first objective."""

    def __init__(
        self, problem: Problem, make: Callable[[], BaseSampler], numeric: bool = False
    ) -> None:
        import optuna

        super().__init__()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._dials, self._numeric = problem.dials, numeric
        self._told = 1 if numeric else len(problem.objectives)
        self._study = optuna.create_study(sampler=make(), directions=["minimize"] * self._told)
        self._spaces = _spaces(problem.dials, numeric)
        self._trial: Any = None

    def ask(self) -> Wish:
        """What the sampler suggests."""
        self._trial = self._study.ask(self._spaces)
        return Wish(self._setting(self._trial.params))

    def tell(self, wish: Wish, shown: Shown) -> None:
        """Tell the sampler what it asked for."""
        super().tell(wish, shown)
        self._study.tell(self._trial, list(shown.values[: self._told]))

    def _setting(self, params: dict[str, Any]) -> Setting:
        return tuple(_choice(dial, params, self._numeric) for dial in self._dials)


def tpe(problem: Problem, rng: np.random.Generator) -> Sampled:
    """Tree-structured Parzen estimator (Bergstra et al. 2011)."""
    from optuna.samplers import TPESampler

    return Sampled(problem, lambda: TPESampler(seed=_seed(rng)))


def cmaes(problem: Problem, rng: np.random.Generator) -> Sampled:
    """CMA-ES (Hansen 2016); names are coded one-hot, the largest number wins."""
    from optuna.samplers import CmaEsSampler

    return Sampled(problem, lambda: CmaEsSampler(seed=_seed(rng)), numeric=True)


def gp(problem: Problem, rng: np.random.Generator) -> Sampled:
    """A Gaussian process with expected improvement of the log (Ament et al. 2023), which knows of noise."""
    import warnings

    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import GPSampler

    def make() -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return GPSampler(seed=_seed(rng), deterministic_objective=False)

    return Sampled(problem, make)


def nsga2(problem: Problem, rng: np.random.Generator) -> Sampled:
    """NSGA-II (Deb et al. 2002)."""
    from optuna.samplers import NSGAIISampler

    return Sampled(
        problem, lambda: NSGAIISampler(population_size=NSGA2_POPULATION, seed=_seed(rng))
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _spaces(dials: tuple[Dial, ...], numeric: bool) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    spaces: dict[str, Any] = {}
    for dial in dials:
        places = range(len(dial.choices))
        if dial.ordered:
            spaces[dial.name] = IntDistribution(0, len(places) - 1)
        elif numeric:
            spaces |= {f"{dial.name}={at}": FloatDistribution(0.0, 1.0) for at in places}
        else:
            spaces[dial.name] = CategoricalDistribution(tuple(places))
    return spaces


def _choice(dial: Dial, params: dict[str, Any], numeric: bool) -> int:
    if dial.ordered or not numeric:
        return int(params[dial.name])
    return max(range(len(dial.choices)), key=lambda at: params[f"{dial.name}={at}"])
