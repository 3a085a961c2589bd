"""Real training as a landscape: a setting is one of the seed's knobs, or one of whole sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from evo.assembly.bench import Bench
from evo.benchmark.landscapes.table import Dial, Setting, Shown
from evo.config import ConfigError
from evo.evaluation.slots import Slot, Unwatched
from operators.optimisers.optimiser import from_place
from operators.source.constants import place
from operators.source.knobs import Knob, KnobKind, Value, read_knobs, same_value, with_knobs
from population.archive import Constraint, violation
from population.types import Clock, Estimate, Measurement, Purpose, RunRequest, Status, variant_id

STEPS = 9  # of the grid that a numeric knob is turned on, its own value among them
JUDGED_FROM = 900  # blocks from here on chose nobody
FAILED = 1.5  # times the seed's score: what a run without a score counts as
MAX_LOST = 3  # times that a run is made again where it was the machine's fault
METRIC = "val_bpb"


class _Training(ABC):
    """Sources trained and scored, each a setting. Not for several threads."""

    start: Setting

    def __init__(
        self,
        bench: Bench,
        slot: Slot,
        first_block: int,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        self._bench, self._slot, self._constraints = bench, slot, constraints
        self._seed: dict[str, Estimate] = {}
        self._clock, self._first_block = bench.rungs[0].clock, first_block
        self.failed = 0
        self._worst = np.inf

    def run(self, setting: Setting, block: int, repeat: int = 0) -> Shown:
        """One real training, and what it took (`seconds_of`)."""
        source = self.source_of(setting)
        found = train(self._bench, self._slot, source, self._first_block + block, repeat)
        ok = found.status is Status.OK and self._keeps_constraints(found.metrics)
        self.failed += not ok
        return Shown(
            (found.metrics[METRIC] if ok else self._worst,), seconds_of(found, self._clock)
        )

    def _keeps_constraints(self, metrics: Mapping[str, float]) -> bool:
        found = {name: Estimate(value, 0.0, 1) for name, value in metrics.items()}
        self._seed = self._seed or found  # its run is the first
        return violation(found, self._constraints, self._seed) == 0

    @abstractmethod
    def source_of(self, setting: Setting) -> str:
        """The source that a setting stands for."""

    def _try_seed(self) -> None:
        """What a run without a score counts as. ConfigError when the seed itself has none."""
        first = self.run(self.start, JUDGED_FROM - 1).values[0]
        if not np.isfinite(first):
            raise ConfigError("the seed itself has no score, so nothing can be compared with it")
        self._worst = FAILED * first


class ScriptLandscape(_Training):
    """Sources as they turn up, numbered from the seed's 0: for contestants that edit.

    One that breaks a constraint of the campaign counts as one without a score.
    """

    dials: tuple[Dial, ...] = ()

    def __init__(
        self,
        bench: Bench,
        slot: Slot,
        source: str,
        first_block: int,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        super().__init__(bench, slot, first_block, constraints)
        self._sources, self.start = [source], (0,)
        self._try_seed()

    def source_of(self, setting: Setting) -> str:
        """The source of this number."""
        return self._sources[setting[0]]

    def setting_of(self, source: str) -> Setting:
        """The number of a source, a new one for a new source."""
        if source not in self._sources:
            self._sources.append(source)
        return (self._sources.index(source),)


class RealLandscape(_Training):
    """The seed's knobs as dials."""

    def __init__(self, bench: Bench, slot: Slot, source: str, first_block: int) -> None:
        super().__init__(bench, slot, first_block)
        self._source = source
        self.knobs = tuple(read_knobs(source))
        if not self.knobs:
            raise ConfigError("the train.py has no knobs to turn")
        self._values = tuple(grid(knob) for knob in self.knobs)
        self.dials = tuple(map(_dial, self.knobs, self._values))
        self.start: Setting = tuple(
            next(at for at, one in enumerate(values) if same_value(one, knob.value))
            for knob, values in zip(self.knobs, self._values, strict=True)
        )
        self._try_seed()

    def source_of(self, setting: Setting) -> str:
        """The seed with its knobs set."""
        return with_knobs(self._source, self.values(setting))

    def values(self, setting: Setting) -> dict[str, Value]:
        """The knobs' values that a setting stands for."""
        return {
            knob.name: values[at]
            for knob, values, at in zip(self.knobs, self._values, setting, strict=True)
        }


def train(bench: Bench, slot: Slot, source: str, block: int, repeat: int = 0) -> Measurement:
    """One run at the first rung; what the machine lost is run again. ConfigError when it loses every one."""
    request = RunRequest(variant_id(source), bench.rungs[0].name, block, repeat, Purpose.SCREEN)
    for _ in range(MAX_LOST):
        found = bench.evaluator.evaluate(request, source, slot, Unwatched())
        if found.status is not Status.LOST:
            return found
    raise ConfigError(f"{MAX_LOST} runs in a row were lost, the last one: {found.reason}")


def seconds_of(found: Measurement, clock: Clock) -> float:
    """What a run took of a contestant's seconds: under the clock `cpu_seconds` those of its training alone.

    How busy the machine is then gives no contestant fewer runs; under other clocks all the slot's time counts.
    """
    return found.cpu_seconds if clock is Clock.CPU_SECONDS else found.wall_seconds


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
