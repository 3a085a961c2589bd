"""One cell of the tournament: a contestant on a landscape with a seed, and its outcome."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np

from evo.benchmark.asking import Asking, open_model
from evo.benchmark.contestants import ASKING, CONTESTANTS, OURS, SETTABLE, contestant_of
from evo.benchmark.contestants.contract import Contestant, Problem, play
from evo.benchmark.contestants.ours import OursSettings
from evo.benchmark.fronts import Volumes
from evo.benchmark.keeping import keep, read_kept
from evo.benchmark.landscapes import tables_of
from evo.benchmark.landscapes.table import ERROR, Landscape, Setting, Shown, TableNoise
from evo.benchmark.racing import raced
from evo.runtime.budget import Budget

VERSION = 3  # of what a cell holds and how it comes about; a new one computes everything anew
POINTS = 40  # of an anytime curve
FIGURES = ("start_regret", "cpu_seconds", "llm_tokens", "llm_dollars")


@dataclass(frozen=True, slots=True)
class Cell:
    """What to compute; a `digest` stands for the file of a contestant of one's own."""

    landscape: str
    contestant: str
    seed: int
    runs: int
    most_runs: float
    noise: TableNoise
    race_share: float
    leaders: int
    objectives: tuple[str, ...] = (ERROR,)
    digest: str = ""
    ours: str = ""  # settings of ours that differ from its defaults, as JSON
    asking: str = ""  # of those that ask a model: which, and what it may cost, as JSON
    equal_seconds: bool = False

    @property
    def key(self) -> str:
        """The content key that the result is kept under."""
        values = asdict(self)
        if not self.equal_seconds:  # as it was before there was a choice
            del values["equal_seconds"]
        text = json.dumps([VERSION, values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def search(self) -> str:
        """What a model is told of the cell: nothing that it could know the landscape by."""
        text = f"{self.landscape} {self.contestant} {self.seed}"
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Pick:
    """What was recommended at the end: its true regret, and the true error less the reported one (optimism).

    Both in percentage points; with several objectives in percent of the best hypervolume, missing and only
    reported. `seconds` of training in all, re-measurements included, and `runs`.
    """

    regret: float
    optimism: float
    runs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """A finished cell. `curve`: true regret of what it would recommend, at equal steps of the budget."""

    cell: Cell
    published: Pick
    raced: Pick
    curve: tuple[float, ...]
    start_regret: float
    cpu_seconds: float
    llm_tokens: int = 0
    llm_dollars: float | None = 0.0  # None: a price is unknown


@dataclass
class _Played:
    """A contestant's runs, and what it would have recommended after each."""

    runs: list[tuple[Setting, Shown]]
    blocks: list[int]
    picks: list[tuple[Setting, ...]]  # one, or a set with several objectives
    seconds: list[float]  # spent, after each run


def compute(cell: Cell, folder: Path | None = None) -> Result:
    """Play one cell out. The same cell gives the same result, as far as a model does.

    `folder`: where calls of a model are recorded.
    """
    began = process_time()
    table, judged = tables_of(cell.landscape)
    landscape = Landscape(table, cell.objectives, cell.noise, cell.seed, judged, cell.equal_seconds)
    average = landscape.mean_seconds()
    most = int(cell.runs * cell.most_runs)
    asking = Asking.model_validate_json(cell.asking) if cell.asking else None
    model, budget = open_model(asking, cell.search, folder) if asking else (None, None)
    seconds = cell.runs * average
    problem = Problem(
        table.dials, landscape.objectives, landscape.start, seconds, most, cell.seed, model
    )
    rng = np.random.default_rng([cell.seed, *cell.contestant.encode()])
    contestant = _contestant(cell, problem, rng)
    played = _play(contestant, landscape, problem.seconds, most)
    seen, several = _published(contestant, played, landscape), len(cell.objectives) > 1
    keeps = several or cell.contestant in OURS  # a race settles one objective
    after = seen if keeps else _with_race(cell, played, landscape, problem)
    regret = _regret_on(landscape)
    curve = _curve(played, regret, landscape.start, problem.seconds)
    start = regret((landscape.start,))
    spent = process_time() - began
    return Result(cell, seen, after, curve, start, spent, *_asked(asking, budget))


def _asked(asking: Asking | None, budget: Budget | None) -> tuple[int, float | None]:
    """Tokens and dollars of a cell."""
    if asking is None or budget is None:
        return 0, 0.0
    spent = budget.spent()
    return spent.llm_tokens, spent.llm_dollars if asking.priced else None


def _contestant(cell: Cell, problem: Problem, rng: np.random.Generator) -> Contestant:
    if cell.contestant in SETTABLE:
        settings = OursSettings.model_validate_json(cell.ours or "{}")
        return SETTABLE[cell.contestant](problem, rng, settings)
    return contestant_of(cell.contestant)(problem, rng)


def _regret_on(landscape: Landscape) -> Callable[[Sequence[Setting]], float]:
    if len(landscape.objectives) > 1:
        return Volumes(landscape).missing
    return lambda settings: landscape.regret(settings[0])


def _play(contestant: Contestant, landscape: Landscape, seconds: float, most: int) -> _Played:
    played, spent = _Played([], [], [], []), 0.0
    for setting, block, shown in play(contestant, landscape.run, seconds, most):
        spent += shown.seconds
        played.runs.append((setting, shown))
        played.blocks.append(block)
        played.picks.append(_recommended(contestant, landscape, played, most))
        played.seconds.append(spent)
    return played


def _recommended(
    contestant: Contestant, landscape: Landscape, played: _Played, most: int
) -> tuple[Setting, ...]:
    """What it would recommend now; a set is asked for only as often as a curve shows."""
    if len(landscape.objectives) == 1:
        return (contestant.recommend(),)
    if played.picks and len(played.runs) % max(most // (2 * POINTS), 1):
        return played.picks[-1]
    return tuple(contestant.recommend_set())


def _published(contestant: Contestant, played: _Played, landscape: Landscape) -> Pick:
    """As the contestant was published: it reports the best it saw, ours what it believes."""
    if len(landscape.objectives) > 1:
        volumes, found = Volumes(landscape), contestant.recommend_set()
        missing = volumes.missing(tuple(found))
        optimism = 100.0 * volumes.share(list(found.values())) - (100.0 - missing)
        return Pick(missing, optimism, len(played.runs), played.seconds[-1])
    pick = contestant.recommend()
    believed: Callable[[], float] | None = getattr(contestant, "believed", None)
    best = min(shown.values[0] for setting, shown in played.runs if setting == pick)
    reported = believed() if believed else best
    optimism = landscape.truth(pick)[0] - reported
    return Pick(landscape.regret(pick), optimism, len(played.runs), played.seconds[-1])


def _with_race(cell: Cell, played: _Played, landscape: Landscape, problem: Problem) -> Pick:
    """The same contestant stopped earlier, and our race of its leaders in the seconds held back.

    No contestant is told its budget's end, so stopping one earlier is running it on less.
    """
    limit = problem.seconds * (1 - cell.race_share)
    most = int(cell.runs * cell.most_runs * (1 - cell.race_share))
    count = min(1 + sum(one < limit for one in played.seconds), len(played.runs), max(most, 1))
    spent = played.seconds[count - 1]
    held = min(problem.seconds - spent, problem.seconds * cell.race_share)
    seen = [
        (setting, block, shown)
        for (setting, shown), block in zip(played.runs[:count], played.blocks, strict=False)
    ]
    end = raced(seen, landscape.run, cell.leaders, cell.race_share, held)
    optimism = landscape.truth(end.setting)[0] - end.believed
    return Pick(landscape.regret(end.setting), optimism, count + end.runs, spent + end.seconds)


def _curve(
    played: _Played, regret: Callable[[Sequence[Setting]], float], start: Setting, seconds: float
) -> tuple[float, ...]:
    at = np.searchsorted(played.seconds, np.linspace(0, seconds, POINTS + 1)[1:], side="right") - 1
    return tuple(regret(played.picks[int(one)] if one >= 0 else (start,)) for one in at)


def digest_of(contestant: str) -> str:
    """What stands for a contestant's file in a cell's key; "" for one of ours."""
    if contestant in CONTESTANTS or contestant in ASKING:
        return ""
    return hashlib.sha256(Path(contestant).read_bytes()).hexdigest()[:16]


def kept(cell: Cell, folder: Path) -> Result | None:
    """The result of an earlier process; None when there is none that can be read."""
    raw = read_kept(folder, cell.key)
    try:
        if raw is None:
            return None
        picks = Pick(**raw["published"]), Pick(**raw["raced"])
        figures = {name: raw[name] for name in FIGURES}
        return Result(cell, *picks, tuple(raw["curve"]), **figures)
    except (KeyError, TypeError):
        return None


def compute_and_keep(cell: Cell, folder: Path) -> Result:
    """Compute a cell unless it is kept already."""
    if (known := kept(cell, folder)) is not None:
        return known
    result = compute(cell, folder)
    keep(folder, cell.key, asdict(result))
    return result
