"""The final race: whom a held-back number of runs should go to, and what the search's claim was worth.

Sequential halving on common blocks (Karnin, Koren and Somekh 2013): everyone left runs the same new
blocks, the worse half leaves. It beat an equal split everywhere, and OCBA (Chen et al. 2000) wherever
runs were thin; OCBA won by less than 0.02 sd where they were not, and needs one run at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from population.statistics.distributions import t_quantile
from population.statistics.intervals import Interval, mean_interval
from population.types import Estimate


@dataclass(frozen=True, slots=True)
class Round:
    """One round: how many are still in, and up to which fresh block (a count from 0) they run."""

    entrants: int
    upto_block: int


@dataclass(frozen=True, slots=True)
class Race:
    """Where a race stands: who is left (best first), runs to make next as (id, block), who won."""

    entrants: tuple[str, ...]
    to_run: tuple[tuple[str, int], ...]
    winner: str | None


@dataclass(frozen=True, slots=True)
class SelectionBias:
    """The gain the search believed in, the gain on fresh blocks, and the first minus the second.

    Gains over the seed, above 0 is better. `bias` low and high are NaN when either has no interval.
    `pairs`: fresh blocks.
    """

    search: Estimate
    fresh: Interval
    bias: Interval
    pairs: int


def plan(entrants: int, runs: int) -> tuple[Round, ...]:
    """The rounds that `runs` runs pay for; no round when there is nothing to decide.

    Each of the ceil(log2 entrants) rounds gets an equal share of what is left, in whole blocks; with fewer
    runs than entrants only the believed best take part.
    """
    left, done, rounds = runs, 0, []
    field = min(entrants, runs)
    count = math.ceil(math.log2(field)) if field > 1 else 0
    for place in range(count):
        blocks = min(max(1, round(left / (count - place) / field)), left // field)
        done, left = done + blocks, left - blocks * field
        if blocks:
            rounds.append(Round(field, done))
        field = math.ceil(field / 2)
    return tuple(rounds)


def race(
    leaders: Sequence[str],
    runs: int,
    scores: Mapping[str, Mapping[int, float]],
    believed: Mapping[str, Estimate] | None = None,
    asked: Mapping[str, Mapping[int, float]] | None = None,
) -> Race:
    """The state of a race from the scores on its fresh blocks, counted from 0; lower is better.

    `leaders` come best first. A run that failed is scored infinite. `believed` means, weighted by their
    n, count beside the fresh runs in choosing (never in what is published). `asked`: the same runs in the
    metric that `believed` is in, where that is another one than the scores'.
    """
    left = tuple(leaders)
    for one in plan(len(leaders), runs):
        left = left[: one.entrants]
        blocks = range(one.upto_block)
        to_run = tuple(
            (id, block) for block in blocks for id in left if block not in scores.get(id, {})
        )
        if to_run:
            return Race(left, to_run, None)
        level = {
            id: _level(scores[id], (asked or scores)[id], blocks, (believed or {}).get(id))
            for id in left
        }
        left = tuple(sorted(left, key=lambda id: (level[id], left.index(id))))
        left = left[: math.ceil(one.entrants / 2)]
    return Race(left, (), left[0] if left else None)


def selection_bias(search: Estimate, fresh_gains: Sequence[float]) -> SelectionBias | None:
    """What choosing the luckiest added to the search's claim; None below two fresh blocks.

    The interval of the difference takes the search's error as normal and the fresh mean's as
    Student's (Satterthwaite's approximation with the known part's variance free of error).
    """
    fresh = mean_interval(fresh_gains)
    if fresh is None:
        return None
    pairs = len(fresh_gains)
    bias, freedom = search.mean - fresh.value, pairs - 1
    own = (fresh.high - fresh.value) / t_quantile(freedom)
    total = search.sd**2 + own**2
    if math.isnan(total):
        return SelectionBias(search, fresh, Interval(bias, math.nan, math.nan), pairs)
    effective = min(freedom * (total / own**2) ** 2, 1e6) if own > 0 else 1e6
    half = t_quantile(effective) * math.sqrt(total)
    return SelectionBias(search, fresh, Interval(bias, bias - half, bias + half), pairs)


def _level(
    scores: Mapping[int, float],
    asked: Mapping[int, float],
    blocks: range,
    believed: Estimate | None,
) -> float:
    """The mean score, moved by what was believed beside what these runs show in the metric of that belief.

    In one metric this is the mean weighted by n. In two a control variate: what a variant knows of the rows
    that are always asked is in both terms of the difference, and is gone.
    """
    fresh = fmean(scores[block] for block in blocks)
    if believed is None or not (math.isfinite(believed.mean) and math.isfinite(fresh)):
        return fresh
    luck = believed.mean - fmean(asked[block] for block in blocks)
    return fresh + luck * believed.n / (len(blocks) + believed.n)
