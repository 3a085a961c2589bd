"""A table of recorded trainings as a landscape: what a run shows, what it costs, and what is true."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

Setting = tuple[int, ...]  # which choice of each knob, counted from 0
ERROR = "error"  # percentage points; what every landscape is first judged by


class TableNoise(StrEnum):
    """How a run's error is drawn."""

    NORMAL = "normal"  # the cell's mean plus a normal with its shrunken seed sd
    RAW = "raw"  # one of the cell's recorded seeds: three distinct ones are the truth itself


@dataclass(frozen=True, slots=True)
class Dial:
    """One knob of a landscape: its choices as recorded. `ordered`: neighbours are alike."""

    name: str
    choices: tuple[str | int | float, ...]
    ordered: bool


@dataclass(frozen=True)
class Table:
    """All settings of a search space with their trainings; lower is better in every metric.

    `means` [settings] by metric, `draws` [settings, seeds] and `sd` [settings] of the error, in
    percentage points; `seconds` [settings] of one training. Settings lie in row-major order.
    """

    name: str
    dials: tuple[Dial, ...]
    means: Mapping[str, np.ndarray]
    draws: np.ndarray
    sd: np.ndarray
    seconds: np.ndarray

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many choices each dial has."""
        return tuple(len(dial.choices) for dial in self.dials)

    def place(self, setting: Setting) -> int:
        """Where a setting lies. ValueError when it is none of this table's."""
        return int(np.ravel_multi_index(setting, self.sizes))


@dataclass(frozen=True, slots=True)
class Shown:
    """What one run showed, by objective in order, and how long it trained."""

    values: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Landscape:
    """A table seen through noise. The same run always shows the same, whichever contestant asks for it.

    `target`: another table of the same settings that regret is judged by; None: this one. `equal_seconds`:
    every run takes as long as the average one.

    The noise of a run is drawn from a stream of its own: of this landscape's `seed`, the setting, the
    block and the repeat. Blocks have no effect that settings share: the tables do not say that they have.
    """

    table: Table
    objectives: tuple[str, ...] = (ERROR,)
    noise: TableNoise = TableNoise.NORMAL
    seed: int = 0
    target: Table | None = None
    equal_seconds: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", TableNoise(self.noise))  # a plain word is as good

    @property
    def start(self) -> Setting:
        """Where every search begins: a middling setting, drawn from the middle fifth by true error."""
        rng = np.random.default_rng([self.seed, 1])
        order = np.argsort(self.table.means[ERROR], kind="stable")
        place = rng.choice(order[int(0.4 * len(order)) : int(0.6 * len(order)) + 1])
        return tuple(int(one) for one in np.unravel_index(place, self.table.sizes))

    def run(self, setting: Setting, block: int, repeat: int = 0) -> Shown:
        """One training of a setting. ValueError for a setting that the table does not hold."""
        place = self.table.place(setting)
        stream = np.random.default_rng([self.seed, 0, place, block, repeat])
        values = [float(self.table.means[one][place]) for one in self.objectives]
        if ERROR in self.objectives:
            values[self.objectives.index(ERROR)] = self._error(place, stream)
        seconds = self._average if self.equal_seconds else float(self.table.seconds[place])
        return Shown(tuple(values), seconds)

    def _error(self, place: int, stream: np.random.Generator) -> float:
        if self.noise is TableNoise.NORMAL:
            return float(
                self.table.means[ERROR][place] + self.table.sd[place] * stream.standard_normal()
            )
        drawn = self.table.draws[place]
        recorded = drawn[~np.isnan(drawn)]
        return float(recorded[stream.integers(len(recorded))])

    def truth(self, setting: Setting) -> tuple[float, ...]:
        """The true value of a setting, by objective."""
        place = self.table.place(setting)
        return tuple(float(self.table.means[one][place]) for one in self.objectives)

    def regret(self, setting: Setting) -> float:
        """How far a setting's true error lies above the best of all, in percentage points."""
        errors = (self.target or self.table).means[ERROR]
        return float(errors[self.table.place(setting)] - errors.min())

    def mean_seconds(self) -> float:
        """What the training of a setting drawn at random takes on average."""
        return self._average

    @cached_property
    def _average(self) -> float:
        return math.fsum(self.table.seconds) / len(self.table.seconds)


def dials_of(choices: Mapping[str, Sequence[str | int | float]]) -> tuple[Dial, ...]:
    """Dials from recorded choices: numbers are ordered, names are not."""
    return tuple(
        Dial(name, tuple(found), ordered=not any(isinstance(one, str) for one in found))
        for name, found in choices.items()
    )
