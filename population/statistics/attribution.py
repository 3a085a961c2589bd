"""What is known of a champion's edits: which earn, which harm, and which patch is enough."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from population.statistics.factorial import FactorialEffect, FactorialFit, Present
from population.statistics.intervals import Interval


class EditVerdict(StrEnum):
    """How one edit is judged."""

    EARNS = "earns"
    HARMFUL = "harmful"
    BARNACLE = "barnacle"  # nothing measurable
    NEEDED = "needed"  # without it the rest fails
    NOT_TOLD = "not told"  # too few runs ended well for an interval


class PatchVerdict(StrEnum):
    """How the minimal patch stands to the champion on fresh blocks."""

    AS_GOOD = "as good"  # loses no more than min_gain, by the whole interval
    NOT_TOLD_APART = "not told apart"
    WORSE = "worse"  # loses more than min_gain, by the whole interval
    UNTRIED = "not tried yet"
    THE_CHAMPION = "the champion itself"


@dataclass(frozen=True, slots=True)
class JudgedEdit:
    """One edit: its effect in the champion, and the single comparisons that it begins with.

    `alone`: what it gained as the seed's only edit, `left_out`: what the champion lost without it; None where a
    run failed or was not made. `joined`: edits that only go together with it, so that all of this is of all.
    """

    edit: int
    verdict: EditVerdict
    effect: FactorialEffect | None
    alone: float | None
    left_out: float | None
    joined: Present = frozenset()


@dataclass(frozen=True, slots=True)
class AblationReport:
    """What the runs so far say. `minimal`: the edits of the minimal patch; `loss`: what that loses.

    `design`: of the factorial, in words, over the edits `designed`; "" before there is one. `fitted`: the model
    of all runs but those that confirm, None before any; `pairs`: what the loss rests on. `either`: edits of
    which one must stay, as the champion fails without both.
    """

    edits: tuple[JudgedEdit, ...]
    fitted: FactorialFit | None
    design: str
    designed: tuple[int, ...]
    minimal: Present
    loss: Interval | None
    pairs: int
    verdict: PatchVerdict
    complete: bool
    either: tuple[tuple[int, int], ...] = ()
