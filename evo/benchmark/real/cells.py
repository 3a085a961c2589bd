"""The cells of a benchmark on real training: played out on a slot of their own, and kept by content.

Nobody knows the truth here, so each contestant is judged by fresh paired blocks of what it recommends and of
the seed, after our final race for everyone, at an equal budget of seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal, TypeVar

import numpy as np

from evo.assembly.bench import Bench, open_bench
from evo.assembly.proposers import open_banks
from evo.benchmark.contestants import BANKED, CONTESTANTS, OURS, contestant_of
from evo.benchmark.contestants.contract import Contestant, Edits, Problem, play
from evo.benchmark.keeping import keep, read_kept
from evo.benchmark.landscapes.table import ERROR, Setting
from evo.benchmark.racing import raced
from evo.benchmark.real.landscape import (
    JUDGED_FROM,
    METRIC,
    RealLandscape,
    ScriptLandscape,
    train,
)
from evo.benchmark.real.settings import RealConfig
from evo.config import Config, ConfigError, read_config
from evo.evaluation.slots import Slot, find_slots
from evo.lock import Held, Unlockable, hold
from operators.registry import WITH_DESK, WITH_LLM
from population.types import Status

T = TypeVar("T")

VERSION = 2  # of what a cell holds and how it comes about
YARDSTICK = "yardstick"  # in a contestant's place: a train.py that is judged and searches nothing
SEED_BLOCKS = 1000  # apart: no seed of the benchmark trains on another one's blocks


@dataclass(frozen=True, slots=True)
class RealCell:
    """What to compute; `digest` stands for the campaign's file, its train.py and the contestant's own file.

    `yardstick`: the train.py to judge instead of a contestant; "" for none.
    """

    campaign: str
    changes: tuple[str, ...]
    contestant: str
    seed: int
    seconds: float
    judged_blocks: int
    race_share: float
    leaders: int
    digest: str
    yardstick: str = ""

    @property
    def key(self) -> str:
        """The content key that the result is kept under; where the files lie does not count."""
        names = {
            "campaign": Path(self.campaign).name,
            "contestant": Path(self.contestant).name,
            "yardstick": Path(self.yardstick).name,
        }
        known = {**asdict(self), **names}
        text = json.dumps(["real", VERSION, known], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class RealResult:
    """A finished cell. `difference`: recommended less seed in bits per byte on `n` fresh blocks.

    `reported`: the same as the contestant's own race believes it. `seconds` of slot time without the judging.
    """

    cell: RealCell
    difference: float
    reported: float
    n: int
    runs: int
    failed: int
    seconds: float
    knobs: dict[
        str, str
    ]  # of the recommended, where they differ from the seed; for edits each step


def real_cells(config: RealConfig) -> list[RealCell]:
    """Every cell, seed after seed, so that whatever is interrupted is balanced."""
    campaign = read_config(config.campaign, config.changes)
    known = config.campaign.read_bytes() + campaign.train.read_bytes()
    cells = []
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for name in config.contestants:
            if name in BANKED:
                own = repr([one.id for one in open_banks(campaign, config.campaign)]).encode()
            else:
                own = b"" if name in CONTESTANTS else Path(name).read_bytes()
            cells.append(_cell(config, name, seed, known + own))
        if config.yardstick is not None:
            text = known + config.yardstick.read_bytes()
            cells.append(_cell(config, YARDSTICK, seed, text, str(config.yardstick)))
    return cells


def _cell(
    config: RealConfig, contestant: str, seed: int, known: bytes, yardstick: str = ""
) -> RealCell:
    return RealCell(
        str(config.campaign),
        config.changes,
        contestant,
        seed,
        config.seconds,
        config.judged_blocks,
        config.race_share,
        config.leaders,
        hashlib.sha256(known).hexdigest()[:16],
        yardstick,
    )


def compute_real(cell: RealCell, bench: Bench, slot: Slot, source: str) -> RealResult:
    """Play one cell out on a slot, then judge what it recommends on fresh blocks, compared with the seed."""
    landscape: RealLandscape | ScriptLandscape
    edits, first_block = None, cell.seed * SEED_BLOCKS
    if cell.contestant in BANKED:
        config = read_config(Path(cell.campaign), cell.changes)
        landscape = ScriptLandscape(bench, slot, source, first_block, config.constraints)
        edits = _edits(config, Path(cell.campaign), landscape)
    else:
        landscape = RealLandscape(bench, slot, source, first_block)
    rung = bench.rungs[0]
    most = int(cell.seconds / max(rung.budget if rung.clock.value != "tokens" else 1.0, 0.01)) + 10
    problem = Problem(
        landscape.dials,
        (METRIC,) if edits else (ERROR,),  # what a bank's effects are told in
        landscape.start,
        cell.seconds,
        most,
        cell.seed,
        edits=edits,
    )
    rng = np.random.default_rng([cell.seed, *cell.contestant.encode()])
    contestant = contestant_of(cell.contestant)(problem, rng)
    own_race = cell.contestant in OURS
    limit = cell.seconds * (1.0 if own_race else 1 - cell.race_share)
    seen = list(play(contestant, landscape.run, limit, most))
    spent = sum(shown.seconds for *_, shown in seen)
    pick, runs = contestant.recommend(), len(seen)
    believed = getattr(contestant, "believed", lambda: np.nan)()
    if not own_race and runs > 1:
        rest = max(cell.seconds - spent, 0.0)
        end = raced(seen, landscape.run, cell.leaders, cell.race_share, rest)
        pick, believed = end.setting, end.believed
        runs, spent = runs + end.runs, spent + end.seconds
    first = [shown.values[0] for setting, _, shown in seen if setting == landscape.start]
    difference = _judged(landscape, pick, cell.judged_blocks)
    moved = _moved(landscape, pick, contestant)
    reported = float(believed) - (fmean(first) if first else np.nan)
    return RealResult(
        cell, difference, reported, cell.judged_blocks, runs, landscape.failed, spent, moved
    )


def _edits(config: Config, file: Path, landscape: ScriptLandscape) -> Edits:
    """What contestants that edit are told: the campaign's ideas and operators, those with a model left out."""
    asking = {*WITH_LLM, *WITH_DESK}
    weights = {name: one for name, one in config.operators.items() if name not in asking}
    return Edits(
        tuple(open_banks(config, file)), weights, landscape.source_of, landscape.setting_of
    )


def _moved(
    landscape: RealLandscape | ScriptLandscape, pick: Setting, contestant: Contestant
) -> dict[str, str]:
    """Knobs that differ from the seed's; of an edited source the steps that led to it."""
    if isinstance(landscape, ScriptLandscape):
        return {f"{at}.": step for at, step in enumerate(contestant.way(pick), 1)}  # type: ignore[attr-defined]
    before, after = landscape.values(landscape.start), landscape.values(pick)
    return {name: f"{before[name]} -> {one}" for name, one in after.items() if one != before[name]}


def _judged(landscape: RealLandscape | ScriptLandscape, pick: Setting, blocks: int) -> float:
    """Recommended less seed, paired by block; 0 for the seed itself."""
    if pick == landscape.start:
        return 0.0
    return mean_gap(lambda one, at: landscape.run(one, at).values[0], pick, landscape.start, blocks)


def mean_gap(score: Callable[[T, int], float], one: T, other: T, blocks: int) -> float:
    """The mean of one less the other over blocks that chose nobody, run in turn (A B B A ...)."""
    differences = []
    for at in range(blocks):
        pair = (one, other) if at % 2 else (other, one)
        shown = {name: score(name, JUDGED_FROM + at) for name in pair}
        differences.append(shown[one] - shown[other])
    return fmean(differences)


def judge_yardstick(cell: RealCell, seed: Bench, own: Bench, slot: Slot) -> RealResult:
    """A train.py that searches nothing, compared with the seed; each has its own start-up's seconds."""
    benches = {one.evaluator.seed_source: one for one in (seed, own)}

    def score(source: str, block: int) -> float:
        found = train(benches[source], slot, source, cell.seed * SEED_BLOCKS + block)
        if found.status is not Status.OK:
            raise ConfigError(f"{cell.yardstick}: yardstick: {found.status}, {found.reason}")
        return found.metrics[METRIC]

    texts = own.evaluator.seed_source, seed.evaluator.seed_source
    gap = mean_gap(score, *texts, cell.judged_blocks)
    return RealResult(cell, gap, np.nan, cell.judged_blocks, 0, 0, 0.0, {})


def kept_real(cell: RealCell, folder: Path) -> RealResult | None:
    """The result of an earlier process; None when there is none that can be read."""
    raw = read_kept(folder, cell.key)
    try:
        return None if raw is None else RealResult(**{**raw, "cell": cell})
    except TypeError:
        return None


def compute_and_keep_real(cell: RealCell, folder: Path) -> RealResult:
    """Compute a cell on a slot that is free, unless it is kept already."""
    if (known := kept_real(cell, folder)) is not None:
        return known
    config = read_config(Path(cell.campaign), cell.changes)
    with _free_slot(folder, of_this_machine(config)) as at:
        bench = _opened(config, folder, at)
        if cell.yardstick:
            other = config.model_copy(update={"train": Path(cell.yardstick)})
            own = _opened(other, folder, at)
            result = judge_yardstick(cell, bench, own, bench.slots[at])
        else:
            source = config.train.read_text(encoding="utf-8-sig")
            result = compute_real(cell, bench, bench.slots[at], source)
    keep(folder, cell.key, asdict(result))
    return result


def _opened(config: Config, folder: Path, at: int) -> Bench:
    """The bench of a cell; what starting costs is measured once, so that it is the same for everyone."""
    known_by = config.train.read_bytes() + repr((config.clock, config.rungs)).encode()
    name = f"startup-{hashlib.sha256(known_by).hexdigest()[:16]}"
    startup = dict(read_kept(folder, name) or {})
    known = dict(startup)
    bench = open_bench(config, folder / f"slot-{at}", startup)
    if startup != known:
        keep(folder, name, startup)
    return bench


@contextmanager
def _free_slot(folder: Path, wanted: int | Literal["auto"]) -> Iterator[int]:
    """The place of a slot that no other process of this benchmark uses."""
    slots = find_slots(wanted)
    for at in range(len(slots)):
        with ExitStack() as kept:
            try:
                kept.enter_context(hold(folder / f"slot-{at}.lock"))
            except Held:
                continue
            except Unlockable as error:
                raise ConfigError(str(error)) from error
            yield at
            return
    raise ConfigError(f"all {len(slots)} slots are in use; take fewer --workers")


def slots_of(config: RealConfig) -> int:
    """How many cells can be measured at once."""
    return len(find_slots(of_this_machine(read_config(config.campaign, config.changes))))


def of_this_machine(config: Config) -> int | Literal["auto"]:
    """The slots that a cell may use. ConfigError where they are on a cluster."""
    if not isinstance(config.slots, int | str):
        raise ConfigError("slots: a benchmark runs on this machine alone; give a number or auto")
    return config.slots
