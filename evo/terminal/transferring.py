"""The ladder's report in plain words: no share without its counts, no figure without its n."""

from __future__ import annotations

from collections.abc import Sequence

from evo.analysis.comparison import Comparison
from evo.analysis.ladder import RungCost
from evo.analysis.reaching import Reaching
from evo.analysis.transfer import EditTransfer, HeldAtTarget, Transfer
from evo.terminal.numbers import count, duration, share, value
from evo.terminal.sentences import beside
from evo.terminal.text import clip, plain, short
from population.statistics.intervals import Interval
from population.statistics.time_to_reach import TimeToReach
from population.statistics.transfer import MIN_VARIANTS, Promotions


def transferred(one: Transfer, metric: str) -> list[str]:
    """What held at the target, against the controls, and what the ranks say."""
    if one.promotions is None:
        return [
            f"No graduate that beat the seed at {plain(one.proxy)} on the ladder's own blocks there, and no "
            f"control, has run at {plain(one.target)}: nothing can be said of transfer."
        ]
    lines = [_promotions(one, one.promotions), *_ranks(one)]
    for pair in one.pairs:
        if pair.ratio is not None:
            ends = f"{pair.ratio.low:.2f} to {pair.ratio.high:.2f}"
            lines.append(
                f"{short(pair.variant_id)} gains {pair.ratio.value:.2f} times as much at "
                f"{plain(one.target)} as at {plain(one.proxy)} (Fieller's 95 % interval {ends})."
            )
    if one.regret:
        told = " and ".join(f"{value(metric, cost)} (k={k})" for k, cost in one.regret.items())
        lines.append(
            f"Taking only the proxy's best k would have cost {told} at {plain(one.target)}, of n={one.n}."
        )
    for name, counts in (("operator", one.by_operator), ("kind of edit", one.by_kind)):
        if counts:
            lines.append(f"Held by {name}: " + ", ".join(map(_held, counts)) + ".")
    return lines


def _promotions(one: Transfer, found: Promotions) -> str:
    """Graduates against controls."""
    target = plain(one.target)
    if found.tried:
        line = (
            f"Of {count(found.tried, 'graduate')} that beat the seed on fresh blocks at "
            f"{plain(one.proxy)}, {found.held} beat it at {target}{_rate(found.rate)}"
        )
    else:
        line = f"No graduate beat the seed on fresh blocks at {plain(one.proxy)}"
    if not found.controls_tried:
        return line + "; no control ran there to hold that against."
    line += (
        f"; of {count(found.controls_tried, 'control')}, {found.controls_held}"
        f"{_rate(found.controls_rate)}."
    )
    if found.tried:
        line += f" Graduates do so more often with probability {found.p_above_controls:.2f}."
    return line


def _rate(found: Interval) -> str:
    return f" (95 % interval {share(found.low)} to {share(found.high)})"


def _ranks(one: Transfer) -> list[str]:
    if one.agreement is None:
        return [
            f"The proxy is not informative at this n: ranks say something from {MIN_VARIANTS} variants with "
            f"both scores on, and there {'is' if one.n == 1 else 'are'} {one.n}."
        ]
    tau = one.agreement.tau
    line = f"Kendall's tau-b is {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f}, n={one.n})"
    line += ". " if one.informative else ": the proxy is not informative at this n. "
    top = one.overlap
    if top is not None:
        line += (
            f"Of the proxy's best {top.k}, {top.overlap} are among the target's, {top.expected:.1f} by chance "
            f"(p={top.p_chance:.2f})."
        )
    return [line.strip()]


def _held(one: HeldAtTarget) -> str:
    rate = "" if one.rate is None else _rate(one.rate)
    return f"{plain(one.name)} {one.held} of {one.tried}{rate}"


def edits(found: Sequence[EditTransfer], metric: str) -> list[str]:
    """Each step to the target's best, as it showed at the proxy and at the target."""
    return [
        f"{short(one.variant_id)} {clip(one.idea or one.operator, 50)} ({', '.join(one.kinds) or 'form'}): "
        f"{_step(one.proxy, metric)} at the proxy, {_step(one.target, metric)} at the target."
        for one in found
    ]


def _step(one: Comparison | None, metric: str) -> str:
    if one is None:
        return "not run on common blocks"
    return f"{metric} {beside(one)}"


def reached(one: Reaching) -> list[str]:
    """The headline, in budget and in tokens."""
    who, rung = short(one.variant_id), plain(one.rung)
    if one.budget is None:
        return [
            f"How long {who} needs to reach the seed's end at {rung}: {one.missing or 'too few runs'}."
        ]
    end = f"the seed's final {one.metric} at {rung}"
    lines = [
        f"{who} reaches {end} {_share(one.budget, 'budget')}, each with a full schedule "
        f"(n={one.budget.blocks} paired blocks)."
    ]
    if one.self_reported_tokens is not None:
        lines.append(
            f"In tokens, as the runs report them themselves: {_share(one.self_reported_tokens, 'tokens')}."
        )
    levels = ", ".join(
        f"{share(level.share)}: {value(one.metric, level.best)} (seed {value(one.metric, level.seed)})"
        for level in one.levels
    )
    return [*lines, f"Mean {one.metric} by share of the budget: {levels}."]


def _share(one: TimeToReach, unit: str) -> str:
    told = f"with {_end(one.value, one)} of the seed's {unit}"
    if one.value is None:
        told = f"not within {share(one.most)} of the seed's {unit}"
    return f"{told} (95 % interval {_end(one.low, one)} to {_end(one.high, one)})"


def _end(at: float | None, one: TimeToReach) -> str:
    if at is None:
        return "not reached"
    return f"{share(at)} or less" if at == one.least else share(at)


def costs(found: Sequence[RungCost]) -> list[str]:
    """What the ladder took, by rung."""
    told = (
        f"{plain(one.rung)} {duration(one.slot_seconds)} ({count(one.runs, 'run')})"
        for one in found
    )
    return [f"Slot time: {', '.join(told)}."] if found else []
