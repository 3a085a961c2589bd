"""Paired comparisons: a variant beside a reference on the blocks that both were run on."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from population.archive import Objective
from population.metrics import claim_metric
from population.statistics import block_means, pooled_sd
from population.statistics.distributions import CONFIDENCE, t_quantile
from population.statistics.race import SelectionBias, selection_bias
from population.types import PUBLISHED, Estimate, MeasurementRow, Purpose, Status

if TYPE_CHECKING:
    from evo.analysis.campaign_view import Record

POWER = 0.8
MIN_PAIRS = 3  # fewer give no interval that is worth printing: t with one degree of freedom is 12.7
MAX_BLOCKS = 500  # beyond it, "how many blocks" is answered by "more than is sensible"

ByBlock = dict[int, float]


class PairVerdict(StrEnum):
    """What an interval says about a difference."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"  # the interval holds 0
    TOO_FEW = "too few runs to say"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Variant minus reference in one metric, mean over n common blocks, with a t interval.

    `sd` (of one difference), `low` and `high` are None below two blocks. `gain` and what is made from it are
    above 0 where the variant is better, whichever way the objective points.
    """

    variant_id: str
    reference_id: str
    metric: str
    rung: str
    blocks: tuple[int, ...]
    variant_mean: float
    reference_mean: float
    difference: float
    sd: float | None
    low: float | None
    high: float | None
    confidence: float
    verdict: PairVerdict
    lower_is_better: bool

    @property
    def n(self) -> int:
        """Common blocks."""
        return len(self.blocks)

    @property
    def gain(self) -> float:
        """By how much the variant is better."""
        return -self.difference if self.lower_is_better else self.difference

    @property
    def se(self) -> float | None:
        """The standard error of the mean difference; None below two blocks."""
        return None if self.sd is None else self.sd / math.sqrt(self.n)

    @property
    def gain_interval(self) -> tuple[float, float] | None:
        """The interval of the gain; None below MIN_PAIRS."""
        if self.low is None or self.high is None or self.n < MIN_PAIRS:
            return None
        return (-self.high, -self.low) if self.lower_is_better else (self.low, self.high)


def block_values(
    rows: Iterable[MeasurementRow],
    rung: str,
    metric: str,
    purposes: Collection[Purpose] | None = None,
) -> dict[str, ByBlock]:
    """The mean of each variant's `ok` runs on each block, by variant; one pass over the rows."""
    chosen = [
        row
        for row in rows
        if row.measurement.request.rung == rung
        and (purposes is None or row.measurement.request.purpose in purposes)
    ]
    found = block_means(chosen)
    return {
        variant_id: metrics[metric] for variant_id, metrics in found.items() if metric in metrics
    }


def claimed_values(
    rows: Iterable[MeasurementRow], rung: str, metric: str, purposes: Collection[Purpose]
) -> tuple[str, dict[str, ByBlock]]:
    """block_values() in the metric that a claim from these runs rests on, and its name."""
    runs = [
        row
        for row in rows
        if row.measurement.request.rung == rung and row.measurement.request.purpose in purposes
    ]
    ended_well = (row.measurement for row in runs if row.measurement.status is Status.OK)
    name = claim_metric(metric, ended_well)
    return name, block_values(runs, rung, name)


def paired_differences(mine: ByBlock, theirs: ByBlock) -> ByBlock:
    """The first minus the second on each block that both have, in order."""
    return {block: mine[block] - theirs[block] for block in sorted(mine.keys() & theirs.keys())}


def compare(
    rows: Sequence[MeasurementRow],
    variant_id: str,
    reference_id: str,
    rung: str,
    objective: Objective,
    purposes: Collection[Purpose] | None = None,
) -> Comparison | None:
    """The two side by side on their common blocks, in the metric that a claim rests on; None without one."""
    both = [row for row in rows if row.measurement.request.variant_id in (variant_id, reference_id)]
    metric, values = claimed_values(both, rung, objective.name, purposes or frozenset(Purpose))
    claimed = objective.model_copy(update={"name": metric})
    return comparison_of(variant_id, reference_id, values, rung, claimed)


def comparison_of(
    variant_id: str,
    reference_id: str,
    values: Mapping[str, ByBlock],
    rung: str,
    objective: Objective,
) -> Comparison | None:
    """The two side by side, from block_values() of the objective at a rung."""
    mine, theirs = values.get(variant_id, {}), values.get(reference_id, {})
    by_block = paired_differences(mine, theirs)
    if not by_block:
        return None
    blocks, differences = tuple(by_block), list(by_block.values())
    mean = fmean(differences)
    sd = stdev(differences) if len(blocks) > 1 else None
    half = half_width(sd, len(blocks)) if sd is not None else None
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Comparison(
        variant_id=variant_id,
        reference_id=reference_id,
        metric=objective.name,
        rung=rung,
        blocks=blocks,
        variant_mean=fmean(mine[block] for block in blocks),
        reference_mean=fmean(theirs[block] for block in blocks),
        difference=mean,
        sd=sd,
        low=low,
        high=high,
        confidence=CONFIDENCE,
        verdict=_verdict(low, high, len(blocks), objective.lower_is_better),
        lower_is_better=objective.lower_is_better,
    )


def _verdict(low: float | None, high: float | None, n: int, less_is_better: bool) -> PairVerdict:
    if low is None or high is None or n < MIN_PAIRS:
        return PairVerdict.TOO_FEW
    if low <= 0 <= high:
        return PairVerdict.UNCLEAR
    return PairVerdict.BETTER if (high < 0) == less_is_better else PairVerdict.WORSE


def half_width(sd: float, n: int, confidence: float = CONFIDENCE) -> float:
    """Half the t interval of a mean of n values with this sd (n - 1 degrees of freedom)."""
    return t_quantile(n - 1, confidence) * sd / math.sqrt(n)


@dataclass(frozen=True, slots=True)
class Noise:
    """The sd of one run from block to block, pooled over variants; `freedom` says how sure that is."""

    sd: float
    freedom: int
    variants: int


def noise(rows: Sequence[MeasurementRow], rung: str, metric: str) -> Noise | None:
    """Run-to-run noise at a rung; None while no variant was run on two blocks."""
    values = block_values(rows, rung, metric).values()
    groups = [list(blocks.values()) for blocks in values if len(blocks) > 1]
    if not groups:
        return None
    return Noise(pooled_sd(groups), sum(len(group) - 1 for group in groups), len(groups))


def visible_difference(sd: float, n: int) -> float:
    """The difference that n paired blocks show four times out of five, sd known from as many blocks.

    (t(97.5 %) + t(80 %)) x sd / sqrt(n), both at n - 1 degrees of freedom: the usual approximation.
    """
    return half_width(sd, n) + half_width(sd, n, 2 * POWER - 1)


def blocks_to_show(difference: float, sd: float) -> int | None:
    """The fewest paired blocks that show this difference four times out of five; None: too many."""
    for n in range(2, MAX_BLOCKS + 1):
        if visible_difference(sd, n) <= abs(difference):
            return n
    return None


# -- What choosing the luckiest added: the gain that the search saw, against that on fresh blocks.


def selection_bias_of(
    rows: Sequence[MeasurementRow],
    search: Comparison | None,
    final: Comparison | None,
    level: Noise | None,
) -> SelectionBias | None:
    """Gains over the seed, above 0 is better: in the search, and in final runs in the metric of the claim.

    A difference of means over n blocks has sd sqrt(2 / n) x that of one run. None without both, and below
    MIN_PAIRS final pairs.
    """
    if search is None or final is None or final.n < MIN_PAIRS:
        return None
    values = block_values(rows, final.rung, final.metric, PUBLISHED)
    pair = (values.get(one, {}) for one in (final.variant_id, final.reference_id))
    sign = -1.0 if final.lower_is_better else 1.0
    gains = [sign * difference for difference in paired_differences(*pair).values()]
    sd = math.nan if level is None else level.sd * math.sqrt(2 / search.n)
    return selection_bias(Estimate(search.gain, sd, search.n), gains)


# -- Several campaigns at equal slot time.


@dataclass(frozen=True, slots=True)
class Course:
    """What a campaign had found when: (slot hours, gain over its seed in percent of the seed's mean).

    `fresh`: the same of its leader on fresh blocks, with the ends of its 95 % interval; None before.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    fresh: tuple[float, float | None, float | None] | None
    hours: float  # of slot time, all rungs

    def gain_at(self, hours: float) -> float | None:
        """What it had found when its slots had worked so long; None before any child had a score."""
        known = [gain for when, gain in self.points if when <= hours]
        return known[-1] if known else None


def course_of(name: str, record: Record, final: Comparison | None) -> Course:
    """The course of one campaign at its proxy: the best mean of a child so far, against the seed's mean."""
    means: dict[str, tuple[float, int]] = {}  # with the number of runs
    best, root = "", record.seed_id
    hours, points = 0.0, list[tuple[float, float]]()
    sign = 1.0 if record.objective.lower_is_better else -1.0
    for row in record.rows:
        run = row.measurement
        hours += run.wall_seconds / 3600
        if run.request.rung != record.proxy or run.status is not Status.OK:
            continue
        score = run.metrics.get(record.objective.name)
        if score is None:
            continue
        one = run.request.variant_id
        before, n = means.get(one, (score, 0))
        means[one] = (before + (score - before) / (n + 1), n + 1)
        if one == best:  # it may have become worse than another
            best = min(means.keys() - {root}, key=lambda child: sign * means[child][0])
        elif one != root and (not best or sign * (means[one][0] - means[best][0]) < 0):
            best = one
        if best and root in means and means[root][0]:
            gain = sign * (means[root][0] - means[best][0])
            points.append((hours, 100 * gain / abs(means[root][0])))
    fresh = None
    if final is not None and final.reference_mean:
        scale = 100 / abs(final.reference_mean)
        ends = final.gain_interval
        low, high = (None, None) if ends is None else (scale * ends[0], scale * ends[1])
        fresh = (scale * final.gain, low, high)
    return Course(name, tuple(points), fresh, hours)


@dataclass(frozen=True, slots=True)
class Compared:
    """One campaign beside others. Gains in percent of its own seed's mean, above 0 where it is better.

    equal: of the best mean of a child when its slots had worked `hours_equal`, the least of all campaigns'
    hours; last: at its end; screening chose both, so they flatter. fresh: its leader's on fresh blocks, with
    the ends of the 95 % interval; None before. `children_better`: of each operator, how many beat their parent.
    """

    campaign: Path
    metric: str
    equal: float | None
    hours_equal: float
    last: float | None
    fresh: tuple[float, float | None, float | None] | None
    hours: float
    children: int
    dollars: float
    children_better: dict[str, tuple[int, int]]
    rung: str  # the first, in words
