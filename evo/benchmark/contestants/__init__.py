"""All contestants by name: a new one is one file and one line here, or a file named in the config."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from evo.benchmark.contestants import catcma, genetic, models, samplers, simple, surrogate
from evo.benchmark.contestants.contract import Make
from evo.benchmark.contestants.ours import Ours, OursSettings
from evo.search.certification import CertificationSettings
from operators.optimisers.optimiser import Method

SETTABLE: Mapping[str, Callable[..., Ours]] = {  # whom the settings of ours are for
    "ours": Ours,
    "ours, gp": partial(Ours, method=Method.GP),
    "ours with llm": partial(Ours, asks=True),
}
CONTESTANTS: Mapping[str, Make] = {
    "random": simple.Random,
    "seed again": simple.SeedAgain,
    "greedy": simple.Greedy,
    "local search": simple.LocalSearch,
    "regularised evolution": simple.RegularisedEvolution,
    "tpe": samplers.tpe,
    "cmaes": samplers.cmaes,
    "catcma": catcma.CatCma,
    "gp by optuna": samplers.gp,
    "nsga2": samplers.nsga2,
    "nsga2 by deap": genetic.GeneticNsga2,
    "surrogate": surrogate.SurrogateAlone,
    "ours": SETTABLE["ours"],
    "ours, gp": SETTABLE["ours, gp"],
    "ours, certifying": partial(Ours, settings=OursSettings(certification=CertificationSettings())),
}
ASKING: Mapping[str, Make] = {  # take part where a model is named
    "best of n": models.best_of_n,
    "greedy llm": models.keep_or_discard,
    "ours with llm": SETTABLE["ours with llm"],
}
BANKED: Mapping[str, Make] = {  # on real training, where the campaign names banks of ideas
    "best of n ideas": models.best_of_n,
    "greedy ideas": models.keep_or_discard,
    "ours with ideas": Ours,
}
OURS = frozenset(
    {"ours", "ours, gp", "ours, certifying", "ours with llm", "ours with ideas"}
)  # with a race of their own

PACKAGES = {
    "Optuna": "optuna",
    "cmaes": "cmaes",
    "DEAP": "deap",
    "SciPy": "scipy",
    "NumPy": "numpy",
}


def versions() -> dict[str, str]:
    """The packages that contestants are made of: what they find changes from version to version."""
    return {name: version(package) for name, package in PACKAGES.items()}


def versions_told() -> str:
    """The same in one sentence."""
    told = ", ".join(f"{name} {number}" for name, number in versions().items())
    return f"Made with {told}, whose defaults change from version to version."


class ContestantError(ValueError):
    """A contestant that cannot take part; the message names it and the fix."""


def contestant_of(name: str) -> Make:
    """A contestant by name, or from a Python file. ContestantError when it is neither."""
    own = {**CONTESTANTS, **ASKING, **BANKED}
    if name in own:
        return own[name]
    if not name.endswith(".py"):
        known = ", ".join(own)
        raise ContestantError(f"there is no contestant {name!r}; known: {known}, or a file.py")
    path = Path(name)
    spec = importlib.util.spec_from_file_location(_module_name(path), path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ContestantError(f"{name}: no file there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up the module that they were written in
    spec.loader.exec_module(module)
    made = getattr(module, "contestant", None)
    if not callable(made):
        raise ContestantError(f"{name}: needs a function contestant(problem, rng)")
    return made  # type: ignore[no-any-return]


def _module_name(path: Path) -> str:
    """A name that hides no installed module, and that another file of the same name does not share."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return f"contestant_{path.stem}_{digest}"
