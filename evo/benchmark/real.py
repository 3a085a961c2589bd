"""The landscape that no table holds: our own train.py, trained and scored for real, over its knobs.

Contestants are those of the tables: each knob becomes a dial, and a run is a measurement by the evaluator in
the sandbox. Nobody knows the truth here, so each is judged by fresh paired blocks of what it recommends and of
the seed, after our final race for everyone, at an equal budget of slot seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evo.benchmark.contestants import CONTESTANTS, OURS, ContestantError, contestant_of
from evo.benchmark.contestants.contract import Problem
from evo.benchmark.landscapes.table import ERROR, Dial, Setting, Shown
from evo.benchmark.racing import raced
from evo.build import Bench, open_bench
from evo.config import ConfigError, read_config, read_plain
from evo.evaluation.slots import Slot
from evo.evaluation.watch import Unwatched
from evo.mistakes import in_words
from operators.optimiser import from_place
from operators.source.constants import place
from operators.source.knobs import Knob, KnobKind, Value, read_knobs, same_value, with_knobs
from population.variant import Order, Purpose, Status, variant_id

VERSION = 1  # of what a cell holds and how it comes about
STEPS = 9  # of the grid that a numeric knob is turned on, its own value among them
SEED_BLOCKS = 1000  # apart: no seed of the benchmark trains on another one's blocks
JUDGED_FROM = 900  # blocks from here on chose nobody
FAILED = 1.5  # times the seed's score: what a run without a score counts as
METRIC = "val_bpb"


class RealConfig(BaseModel):
    """A benchmark on real training: every contestant with every seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: Path = Field(description="a campaign's file: its seed, first rung, sandbox and data")
    changes: tuple[str, ...] = Field(default=(), description="keys of it that differ")
    contestants: tuple[str, ...] = Field(default=("random", "greedy", "tpe", "ours"), min_length=1)
    seeds: int = Field(default=3, ge=2)
    first_seed: int = Field(default=0, ge=0)
    seconds: float = Field(gt=0, description="of slot time, for each cell, race included")
    judged_blocks: int = Field(default=3, ge=1, description="fresh ones, beyond the seconds")
    race_share: float = Field(default=0.1, gt=0, lt=1)
    leaders: int = Field(default=3, ge=2)


@dataclass(frozen=True, slots=True)
class RealCell:
    """What to compute; `digest` stands for the campaign's file, its train.py and the contestant's own file."""

    campaign: str
    changes: tuple[str, ...]
    contestant: str
    seed: int
    seconds: float
    judged_blocks: int
    race_share: float
    leaders: int
    digest: str

    @property
    def key(self) -> str:
        """The content key that the result is kept under; where the files lie does not count."""
        names = {"campaign": Path(self.campaign).name, "contestant": Path(self.contestant).name}
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
    knobs: dict[str, str]  # of the recommended, where they differ from the seed


def is_real(raw: object) -> bool:
    """Whether a benchmark's file is one on real training."""
    return isinstance(raw, dict) and "campaign" in raw


def read_real(path: Path, changes: Sequence[str] = ()) -> RealConfig:
    """The benchmark in a YAML file. ConfigError when it is wrong; names the file, the key and the fix."""
    raw = read_plain(path, changes)
    if isinstance(raw.get("contestants"), list):
        names = map(str, raw["contestants"])
        raw["contestants"] = [str(path.parent / n) if n.endswith(".py") else n for n in names]
    by_key = {change.partition("=")[0]: change for change in changes}
    try:
        config = RealConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(in_words(error.errors(), RealConfig, raw, str(path), by_key)) from error
    for name in config.contestants:
        try:
            contestant_of(name)
        except ContestantError as error:
            raise ConfigError(f"{path}: contestants: {error}") from error
    found = config.model_copy(update={"campaign": (path.parent / config.campaign).resolve()})
    read_config(found.campaign, found.changes)
    return found


def real_cells(config: RealConfig) -> list[RealCell]:
    """Every cell, seed after seed, so that whatever is interrupted is balanced."""
    campaign = read_config(config.campaign, config.changes)
    known = config.campaign.read_bytes() + campaign.train.read_bytes()
    cells = []
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for name in config.contestants:
            own = b"" if name in CONTESTANTS else Path(name).read_bytes()
            cells.append(
                RealCell(
                    str(config.campaign),
                    config.changes,
                    name,
                    seed,
                    config.seconds,
                    config.judged_blocks,
                    config.race_share,
                    config.leaders,
                    hashlib.sha256(known + own).hexdigest()[:16],
                )
            )
    return cells


class RealLandscape:
    """The seed's knobs as dials; a run trains and scores. Not for several threads."""

    def __init__(self, bench: Bench, slot: Slot, source: str, first_block: int) -> None:
        self._bench, self._slot, self._source = bench, slot, source
        self._rung, self._first_block = bench.rungs[0].name, first_block
        self.knobs = tuple(read_knobs(source))
        if not self.knobs:
            raise ConfigError("the train.py has no knobs to turn")
        self._values = tuple(grid(knob) for knob in self.knobs)
        self.dials = tuple(map(_dial, self.knobs, self._values))
        self.start: Setting = tuple(
            next(at for at, one in enumerate(values) if same_value(one, knob.value))
            for knob, values in zip(self.knobs, self._values, strict=True)
        )
        self.failed = 0
        self._worst = np.inf
        first = self.run(self.start, JUDGED_FROM - 1).values[0]
        if not np.isfinite(first):
            raise ConfigError("the seed itself has no score, so nothing can be compared with it")
        self._worst = FAILED * first

    def run(self, setting: Setting, block: int, repeat: int = 0) -> Shown:
        """One real training, in slot seconds."""
        source = with_knobs(self._source, self.values(setting))
        order = Order(
            variant_id(source), self._rung, self._first_block + block, repeat, Purpose.SCREEN
        )
        found = self._bench.evaluator.evaluate(order, source, self._slot, Unwatched())
        ok = found.status is Status.OK
        self.failed += not ok
        return Shown((found.metrics[METRIC] if ok else self._worst,), found.wall_seconds)

    def values(self, setting: Setting) -> dict[str, Value]:
        """The knobs' values that a setting stands for."""
        return {
            knob.name: values[at]
            for knob, values, at in zip(self.knobs, self._values, setting, strict=True)
        }


def grid(knob: Knob) -> tuple[Value, ...]:
    """What a knob is turned to: its choices, or STEPS places of its range, its own value for the nearest."""
    if knob.kind is KnobKind.CHOICE:
        return knob.choices
    own = place(knob, knob.value)
    steps = np.linspace(0.0, 1.0, STEPS)
    nearest = int(np.argmin(abs(steps - own)))
    values = [
        knob.value if at == nearest else from_place(knob, float(step))
        for at, step in enumerate(steps)
    ]
    return tuple(sorted(dict.fromkeys(values), key=float))


def _dial(knob: Knob, values: tuple[Value, ...]) -> Dial:
    """Names stand for choices, so that 8 and False are read as no number."""
    if knob.kind is KnobKind.CHOICE:
        return Dial(knob.name, tuple(f"is_{at}" for at in range(len(values))), ordered=False)
    return Dial(knob.name, tuple(float(one) for one in values), ordered=True)


def compute_real(cell: RealCell, bench: Bench, slot: Slot, source: str) -> RealResult:
    """Play one cell out on a slot, then judge what it recommends on fresh blocks beside the seed."""
    landscape = RealLandscape(bench, slot, source, cell.seed * SEED_BLOCKS)
    rung = bench.rungs[0]
    most = int(cell.seconds / max(rung.budget if rung.clock.value != "tokens" else 1.0, 0.01)) + 10
    problem = Problem(landscape.dials, (ERROR,), landscape.start, cell.seconds, most, cell.seed)
    rng = np.random.default_rng([cell.seed, *cell.contestant.encode()])
    contestant = contestant_of(cell.contestant)(problem, rng)
    own_race = cell.contestant in OURS
    limit = cell.seconds * (1.0 if own_race else 1 - cell.race_share)
    seen: list[tuple[Setting, int, Shown]] = []
    blocks: dict[Setting, int] = {}
    spent = 0.0
    while spent < limit and len(seen) < most and (wish := contestant.ask()) is not None:
        fresh = blocks.get(wish.setting, 0)
        block = fresh if wish.block is None else wish.block
        blocks[wish.setting] = max(fresh, block + 1)
        shown = landscape.run(wish.setting, block, wish.repeat)
        contestant.tell(wish, shown)
        spent += shown.seconds
        seen.append((wish.setting, block, shown))
    pick, runs = contestant.recommend(), len(seen)
    believed = getattr(contestant, "believed", lambda: np.nan)()
    if not own_race and runs > 1:
        rest = max(cell.seconds - spent, 0.0)
        end = raced(seen, landscape.run, cell.leaders, cell.race_share, rest)
        pick, believed = end.setting, end.believed
        runs, spent = runs + end.runs, spent + end.seconds
    first = [shown.values[0] for setting, _, shown in seen if setting == landscape.start]
    difference = _judged(landscape, pick, cell.judged_blocks)
    before, after = landscape.values(landscape.start), landscape.values(pick)
    moved = {name: f"{before[name]} -> {one}" for name, one in after.items() if one != before[name]}
    reported = float(believed) - (fmean(first) if first else np.nan)
    return RealResult(
        cell, difference, reported, cell.judged_blocks, runs, landscape.failed, spent, moved
    )


def _judged(landscape: RealLandscape, pick: Setting, blocks: int) -> float:
    """Recommended less seed, paired by block, in turn (A B B A ...); 0 for the seed itself."""
    if pick == landscape.start:
        return 0.0
    differences = []
    for at in range(blocks):
        pair = (pick, landscape.start) if at % 2 else (landscape.start, pick)
        shown = {one: landscape.run(one, JUDGED_FROM + at).values[0] for one in pair}
        differences.append(shown[pick] - shown[landscape.start])
    return fmean(differences)


def kept_real(cell: RealCell, folder: Path) -> RealResult | None:
    """The result of an earlier process; None when there is none that can be read."""
    try:
        raw = json.loads((folder / f"{cell.key}.json").read_text(encoding="utf-8"))
        return RealResult(**{**raw, "cell": cell})
    except (OSError, ValueError, TypeError):
        return None


def compute_and_keep_real(cell: RealCell, folder: Path) -> RealResult:
    """Compute a cell on a slot that is free, unless it is kept already; a kill leaves no half of a file."""
    if (known := kept_real(cell, folder)) is not None:
        return known
    config = read_config(Path(cell.campaign), cell.changes)
    with _free_slot(folder, config.slots) as at:
        bench = open_bench(config, folder / f"slot-{at}", {})
        source = config.train.read_text(encoding="utf-8")
        result = compute_real(cell, bench, bench.slots[at], source)
    draft = folder / f"{cell.key}.{os.getpid()}.new"
    draft.write_text(json.dumps(asdict(result)), encoding="utf-8")
    os.replace(draft, folder / f"{cell.key}.json")
    return result


@contextmanager
def _free_slot(folder: Path, wanted: object) -> Iterator[int]:
    """The place of a slot that no other process of this benchmark uses."""
    from evo.evaluation.slots import find_slots

    slots = find_slots(wanted)  # type: ignore[arg-type]
    for at in range(len(slots)):
        with (folder / f"slot-{at}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield at
            return
    raise ConfigError(f"all {len(slots)} slots are in use; take fewer --workers")


def slots_of(config: RealConfig) -> int:
    """How many cells can be measured at once."""
    from evo.evaluation.slots import find_slots

    return len(find_slots(read_config(config.campaign, config.changes).slots))
