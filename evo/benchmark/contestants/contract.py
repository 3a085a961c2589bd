"""What a contestant is: it asks for runs, is told what they showed, and says what it recommends.

One of your own is one file with a function `contestant(problem, rng)` that gives an object with `ask`,
`tell` and `recommend`; name the file in the config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from evo.benchmark.fronts import nondominated
from evo.benchmark.landscapes.table import Dial, Setting, Shown
from operators.llm.settings import PromptSettings
from operators.llm_operators import Ask
from population.reading.idea_bank import BankIdea


@dataclass(frozen=True, slots=True)
class Model:
    """What answers in one cell, its endpoints, and how much a prompt may hold.

    `search` stands in every prompt: no two cells ask the same, so a replay gives each its own answers.
    """

    ask: Ask
    search: str
    endpoints: tuple[str, ...] = ()
    prompt: PromptSettings = PromptSettings()


@dataclass(frozen=True, slots=True)
class Edits:
    """Real sources in the place of dials: ideas to merge into them, and a setting for each as it turns up.

    `operators`: shares of those that `ours` makes children with. `source_of` and `setting_of` are each other's
    inverse; a source that is new becomes a setting of its own.
    """

    ideas: tuple[BankIdea, ...]
    operators: Mapping[str, float]
    source_of: Callable[[Setting], str]
    setting_of: Callable[[str], Setting]


@dataclass(frozen=True, slots=True)
class Problem:
    """What every contestant is told: the dials, where to start, and what it may spend.

    `seconds` of training in all, in `runs` at most. `seed` numbers the cell. Lower is better
    in everything shown. `model`: what may be asked, where the benchmark names one. `edits`: where sources
    are changed, and there are no dials.
    """

    dials: tuple[Dial, ...]
    objectives: tuple[str, ...]
    start: Setting
    seconds: float
    runs: int
    seed: int
    model: Model | None = None
    edits: Edits | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """A run to make. `block` None: a fresh one of this setting's."""

    setting: Setting
    block: int | None = None
    repeat: int = 0


class Contestant(Protocol):
    """Asks for one run after the other until the seconds are spent or it has no wish left."""

    def ask(self) -> Wish | None:
        """The next run; None: it is done."""
        ...

    def tell(self, wish: Wish, shown: Shown) -> None:
        """What the run just asked for showed."""
        ...

    def recommend(self) -> Setting:
        """What it would hand to its user now. Called after at least one run."""
        ...

    def recommend_set(self) -> Mapping[Setting, tuple[float, ...]]:
        """The same for several objectives: a set, and the values that it reports of each."""
        ...


Make = Callable[[Problem, np.random.Generator], Contestant]


def play(
    contestant: Contestant, run: Callable[[Setting, int, int], Shown], seconds: float, most: int
) -> Iterator[tuple[Setting, int, Shown]]:
    """Its runs one after the other, with their blocks, each as soon as the contestant was told of it.

    `run` takes a setting, a block and a repeat. They end when the seconds are spent, after `most` runs, or
    when the contestant has no wish left.
    """
    next_block, spent, made = dict[Setting, int](), 0.0, 0
    while spent < seconds and made < most and (wish := contestant.ask()) is not None:
        fresh = next_block.get(wish.setting, 0)
        block = fresh if wish.block is None else wish.block
        next_block[wish.setting] = max(fresh, block + 1)
        shown = run(wish.setting, block, wish.repeat)
        contestant.tell(wish, shown)
        spent, made = spent + shown.seconds, made + 1
        yield wish.setting, block, shown


@dataclass
class BestSeen:
    """The recommendation of all that were published so: the setting of the best single run."""

    seen: dict[Setting, tuple[float, ...]] = field(default_factory=dict, init=False)
    best: Setting | None = field(default=None, init=False)
    value: float = field(default=float("inf"), init=False)

    def tell(self, wish: Wish, shown: Shown) -> None:
        """Keep the setting if its run is the best so far."""
        self.seen[wish.setting] = min(shown.values, self.seen.get(wish.setting, shown.values))
        if shown.values[0] < self.value or self.best is None:
            self.best, self.value = wish.setting, shown.values[0]

    def recommend(self) -> Setting:
        """The setting of the best run. ValueError before the first."""
        if self.best is None:
            raise ValueError("nothing was run yet")
        return self.best

    def recommend_set(self) -> dict[Setting, tuple[float, ...]]:
        """The settings that no other's run dominates, each by its best run."""
        settings = list(self.seen)
        chosen = nondominated(np.array([self.seen[one] for one in settings]))
        return {settings[at]: self.seen[settings[at]] for at in chosen}


def drawn(dials: tuple[Dial, ...], rng: np.random.Generator) -> Setting:
    """A setting at random."""
    return tuple(int(rng.integers(len(dial.choices))) for dial in dials)


def changed(setting: Setting, dials: tuple[Dial, ...], rng: np.random.Generator) -> Setting:
    """The setting with one dial at another choice, both at random."""
    at = int(rng.integers(len(dials)))
    step = int(rng.integers(1, len(dials[at].choices)))
    value = (setting[at] + step) % len(dials[at].choices)
    return (*setting[:at], value, *setting[at + 1 :])


def neighbours(
    setting: Setting, dials: tuple[Dial, ...], rng: np.random.Generator
) -> list[Setting]:
    """All settings with one dial a step away, or at another choice where choices have no order; shuffled."""
    found = list[Setting]()
    for at, dial in enumerate(dials):
        here, count = setting[at], len(dial.choices)
        others = (here - 1, here + 1) if dial.ordered else range(count)
        found += [
            (*setting[:at], one, *setting[at + 1 :])
            for one in others
            if 0 <= one < count and one != here
        ]
    return [found[int(at)] for at in rng.permutation(len(found))]
