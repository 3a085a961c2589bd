"""Who becomes a parent: tournaments on feasibility, then on the first objective or on the whole front.

With several objectives most tournaments go by the first one, drawn from what is believed of it, so that an
uncertain variant gets its chance (Thompson 1933): on a wide front rank means little, and extreme points,
such as the smallest model, would win most ties. The others go by non-domination rank and crowding.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

_GLOBAL_RANDOM = threading.Lock()  # DEAP draws from the module `random`, which threads share
PRIMARY_SHARE = 0.7  # of the tournaments go by what is believed of the first objective alone
TOURNAMENT = 5  # as in regularised evolution; two hardly select among the last twenty
NEWEST = 20  # variants measured last that may be parents beside the front
THIRD_PARENT_SHARE = 0.25  # of the crossovers that may have one


class SelectionSettings(BaseModel):
    """How parents are chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    primary_share: float = Field(
        default=PRIMARY_SHARE, ge=0, le=1, description="of tournaments by the first objective"
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant that may become a parent. `values` are to be minimised; feasible: violation 0.

    `sd`: of what is believed of the first value, 0 where that is not known.
    """

    variant_id: str
    values: tuple[float, ...]
    on_front: bool = False
    violation: float = 0.0
    sd: float = 0.0

    def __post_init__(self) -> None:
        """A failed variant has no values and cannot be a candidate: ValueError."""
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise ValueError(f"{self.variant_id} has no finite values: {self.values}")


@dataclass(slots=True)
class _Fitness:
    """What DEAP reads and writes of a fitness; `wvalues` are to be maximised."""

    values: tuple[float, ...]
    wvalues: tuple[float, ...]
    crowding_dist: float = 0.0


@dataclass(slots=True)
class _Entrant:
    """A candidate in DEAP's eyes; of two entrants the greater `preference` wins."""

    candidate: Candidate
    fitness: _Fitness
    preference: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))


def population(candidates: Sequence[Candidate], newest: int = NEWEST) -> list[Candidate]:
    """The front and the `newest`, of candidates in the order they were first measured."""
    first_of_last = len(candidates) - newest
    return [one for at, one in enumerate(candidates) if one.on_front or at >= first_of_last]


def within_reach(candidates: Sequence[Candidate], gain: float) -> list[Candidate]:
    """Those that an edit of the usual `gain` may bring level with the best by the first value, and the front.

    A parent farther behind, by more than the sd of what is believed of it, leads nowhere: its children
    would have to gain more than edits do, only to be where others are.
    """
    least = min((one.violation for one in candidates), default=0.0)
    best = min((one.values[0] for one in candidates if one.violation == least), default=0.0)
    return [one for one in candidates if one.on_front or one.values[0] - one.sd - best <= gain]


def choose_parents(
    candidates: Sequence[Candidate],
    how_many: int,
    rng: np.random.Generator,
    size: int = TOURNAMENT,
    primary_share: float = PRIMARY_SHARE,
) -> list[Candidate]:
    """N winners of tournaments of `size`, repeats possible. ValueError without candidates."""
    if not candidates:
        raise ValueError("nobody to choose from")
    return _tournament(_ranked(candidates), how_many, rng, size, primary_share)


def choose_pair(
    candidates: Sequence[Candidate],
    eligible: Callable[[Candidate, Candidate], bool],
    rng: np.random.Generator,
    size: int = TOURNAMENT,
    primary_share: float = PRIMARY_SHARE,
) -> tuple[Candidate, Candidate] | None:
    """Two different parents that are eligible together; None when no two are."""
    entrants = _ranked(candidates)
    firsts = entrants
    while firsts:
        (first,) = _tournament(firsts, 1, rng, size, primary_share)
        partners = [
            one
            for one in entrants
            if one.candidate.variant_id != first.variant_id and eligible(first, one.candidate)
        ]
        if partners:
            (second,) = _tournament(partners, 1, rng, size, primary_share)
            return first, second
        firsts = [one for one in firsts if one.candidate.variant_id != first.variant_id]
    return None


def choose_third(
    candidates: Sequence[Candidate],
    eligible: Callable[[Candidate], bool],
    rng: np.random.Generator,
    size: int = TOURNAMENT,
    primary_share: float = PRIMARY_SHARE,
) -> Candidate | None:
    """One more parent beside a pair, of those eligible; None when nobody is."""
    able = [one for one in _ranked(candidates) if eligible(one.candidate)]
    return _tournament(able, 1, rng, size, primary_share)[0] if able else None


def _ranked(candidates: Sequence[Candidate]) -> list[_Entrant]:
    """Entrants with their preference: feasible first, then low rank, then much room around.

    Non-dominated sorting and crowding distance after Deb et al. 2002 (NSGA-II), constraint
    domination likewise; the sort is Fortin et al. 2013.
    """
    if not candidates:
        return []
    from deap import tools  # here, because settings are read by commands that select nobody

    entrants = [_Entrant(one, _Fitness(one.values, _maximised(one.values))) for one in candidates]
    fronts = tools.sortLogNondominated(entrants, len(entrants))
    for rank, front in enumerate(fronts):
        tools.emo.assignCrowdingDist(front)
        for entrant in front:
            room = entrant.fitness.crowding_dist
            entrant.preference = (-entrant.candidate.violation, -float(rank), room)
    return entrants


def _maximised(values: tuple[float, ...]) -> tuple[float, ...]:
    turned = tuple(-value for value in values)
    return turned if len(turned) > 1 else turned * 2  # DEAP's sort fails on a single objective


def _tournament(
    entrants: Sequence[_Entrant],
    how_many: int,
    rng: np.random.Generator,
    size: int,
    primary_share: float,
) -> list[Candidate]:
    from deap import tools

    several = len(entrants[0].candidate.values) > 1
    won: list[_Entrant] = []
    for _ in range(how_many):
        by_first = several and rng.random() < primary_share
        meet = [_by_first(one, rng) for one in entrants] if by_first else entrants
        with drawing_from(rng):
            won += tools.selTournament(meet, 1, tournsize=size, fit_attr="preference")
    return [entrant.candidate for entrant in won]


def _by_first(one: _Entrant, rng: np.random.Generator) -> _Entrant:
    """An entrant that is preferred by a draw of its first value alone."""
    drawn = one.candidate.values[0] + one.candidate.sd * float(rng.standard_normal())
    return replace(one, preference=(-one.candidate.violation, -drawn, 0.0))


@contextmanager
def drawing_from(rng: np.random.Generator) -> Iterator[None]:
    """DEAP draws from `rng`: Python's global random is seeded from it for one thread and restored."""
    with _GLOBAL_RANDOM:
        state = random.getstate()
        random.seed(int(rng.integers(2**63)))
        try:
            yield
        finally:
            random.setstate(state)
