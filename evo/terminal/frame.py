"""One moment of a running campaign, as values: what the live view draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """One budget: what is used of it. `text` says both in words."""

    name: str
    used: float
    limit: float
    text: str


@dataclass(frozen=True, slots=True)
class SlotFrame:
    """What one slot does; `who` is "" while it is free. `losses` in nats, as the variant told them.

    `progress` is the share of the training budget used, None before the first step.
    """

    name: str
    who: str = ""
    rung: str = ""
    block: int = 0
    purpose: str = ""
    seconds: float = 0.0
    progress: float | None = None
    losses: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """The mean of one variant's runs in the first objective with its standard error, and what is believed."""

    who: str
    metric: str
    mean: float
    sd: float | None
    n: int
    believed: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """By how much the best is better than the seed in the first objective, mean over `n` common blocks.

    `se`: the standard error of that mean; None below two.
    """

    gain: float
    n: int
    se: float | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How far a campaign has come: runs recorded, about how many in all, seconds to its end."""

    done: int
    runs: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class EventFrame:
    """One line of what happened; `at` in seconds since the epoch."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class OperatorFrame:
    """What an operator did: children measured, how many beat their parent in one run, on the front."""

    name: str
    children: int
    failed: int
    better: int
    on_front: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment. `notice` is one line that wants attention, "" for none."""

    name: str
    phase: str
    seconds: float
    limits: Sequence[Limit]
    slots: Sequence[SlotFrame]
    best: Score | None
    seed: Score | None
    minimise: bool
    front_size: int
    waiting: int
    events: Sequence[EventFrame]
    operators: Sequence[OperatorFrame]
    notice: str = ""
    gap: Gap | None = None
    way: Way | None = None
