"""Findings in plain words. No claim without its n and, from two runs on, its interval."""

from __future__ import annotations

from collections.abc import Sequence

from evo.analysis.comparison import Comparison, Verdict
from evo.analysis.drifting import HostDrift
from evo.analysis.early import Shadowed
from evo.analysis.findings import Findings, Graduate, KnobChange
from evo.analysis.progress import Failures
from evo.terminal.numbers import count, duration, share, signed, value
from evo.terminal.text import clip, plain, short
from population.statistics.race import SelectionBias

MOST_KNOBS = 8
MEANS = {
    Verdict.BETTER: "better than the seed",
    Verdict.WORSE: "worse than the seed",
    Verdict.UNCLEAR: "not distinguishable from the seed",
    Verdict.TOO_FEW: "too few runs to say which is better",
}


def found(findings: Findings) -> list[str]:
    """What was found: leader beside seed."""
    leader = findings.leader_id
    if not findings.statuses:
        return ["Nothing has been measured yet."]
    if not findings.children:
        return ["Only the seed has been measured: there is no child to compare with it yet."]
    if findings.search is None or leader is None:
        return ["No child is on the front: nothing better than the seed was found."]
    name = short(leader)
    if findings.final is not None:
        where = f"On {count(findings.final.n, 'block')} that played no part in choosing it, "
        return [where + _difference(name, findings.final) + f": {MEANS[findings.final.verdict]}."]
    return [
        f"{_difference(name, findings.search)}. These runs also chose it, so the figure flatters; "
        "a comparison on fresh blocks is still to come."
    ]


def _difference(name: str, one: Comparison) -> str:
    """The difference alone, with its n: what it means is said beside its interval only."""
    way = "lower" if one.difference < 0 else "higher"
    side = f"{value(one.metric, abs(one.difference))} {way} than" if one.difference else "equal to"
    against = (
        f"{value(one.metric, one.variant_mean)} against {value(one.metric, one.reference_mean)}"
    )
    return f"{name}'s {one.metric} is {side} the seed's ({against}, n={one.n})"


def certainty(findings: Findings) -> list[str]:
    """How sure that is: the interval, what the choosing runs showed, and the noise."""
    lines = []
    if findings.final is not None:
        lines.append(interval(findings.final))
        if findings.search is not None:
            lines.append(
                f"On {count(findings.search.n, 'block')} that helped to choose it the difference was "
                f"{signed(findings.objective, findings.search.difference)}; believe the fresh figure."
            )
    elif findings.search is not None:
        lines.append("Not known yet: the only runs that compare it with the seed also chose it.")
    if findings.test is not None:
        lines.append(f"On text that nobody searched on: {_test(findings.test)}")
    if findings.selection is not None:
        lines.append(_selection(findings.objective, findings.selection))
    if findings.noise is not None:
        level = findings.noise
        lines.append(
            f"Noise: one run of the same variant varies by {value(findings.objective, level.sd)} from block "
            f"to block (sd, {count(level.freedom, 'degree')} of freedom, {count(level.variants, 'variant')})."
        )
    elif findings.statuses:
        lines.append("Noise: unknown, no variant was measured on two blocks.")
    return lines


def _selection(metric: str, one: SelectionBias) -> str:
    """What the search claimed against what fresh runs on fresh text show."""
    claim = f"The search saw a gain of {signed(metric, one.search.mean)} (n={one.search.n})"
    fresh = f"fresh runs on fresh text {signed(metric, one.fresh.value)}"
    line = f"{claim}, {fresh}: selection bias {signed(metric, one.bias.value)}"
    if one.bias.low != one.bias.low:
        return f"{line}."
    ends = f"{signed(metric, one.bias.low)} to {signed(metric, one.bias.high)}"
    return f"{line} (95 % interval {ends})."


def _test(one: Comparison) -> str:
    gap = f"{one.metric} {signed(one.metric, one.difference)} to the seed"
    if one.low is None:
        return f"{gap} (n={one.n}): too few runs to say."
    ends = f"{signed(one.metric, one.low)} to {signed(one.metric, one.high)}"
    return f"{gap} ({100 * one.confidence:.0f} % interval {ends}, n={one.n})."


def interval(one: Comparison) -> str:
    """The interval of a paired difference, or plainly that there are too few runs."""
    if one.low is None or one.high is None:
        return f"{count(one.n, 'pair')} of runs: too few runs to say how sure that is."
    holds = (
        "it holds 0, so chance alone could do this"
        if one.low <= 0 <= one.high
        else "0 lies outside"
    )
    ends = f"{signed(one.metric, one.low)} to {signed(one.metric, one.high)}"
    how = f"n={one.n} pairs, t with {count(one.n - 1, 'degree')} of freedom"
    return f"{100 * one.confidence:.0f} % interval of the difference: {ends} ({how}); {holds}."


def gain_below(one: Comparison | None, fresh: bool) -> str:
    """What a variant gains at the rung below, with its n and how far to believe it."""
    if one is None:
        return "not measured beside the seed"
    which = "on blocks that played no part in choosing it" if fresh else "on blocks that chose it"
    way = "lower" if one.difference < 0 else "higher"
    told = (
        f"{one.metric} {value(one.metric, abs(one.difference))} {way} than the seed's at {one.rung}"
    )
    return f"{told}, {which}: {MEANS[one.verdict]}. {interval(one)}"


def knobs(changes: tuple[KnobChange, ...], lines: int) -> str:
    """What differs from the seed, in one line."""
    parts = [
        f"{plain(one.name)} {clip(one.before or 'none', 24)} → {clip(one.after or 'none', 24)}"
        for one in changes[:MOST_KNOBS]
    ]
    if len(changes) > MOST_KNOBS:
        parts.append(f"and {count(len(changes) - MOST_KNOBS, 'more knob')}")
    if lines:
        parts.append(
            f"{count(lines, 'other line')} changed" if parts else f"{count(lines, 'line')} changed"
        )
    return ", ".join(parts) if parts else "nothing but form"


def graduation(one: Graduate) -> str:
    """One variant at a larger rung, beside the seed there."""
    name, rung = short(one.variant_id), plain(one.rung)
    if one.comparison is not None:
        beside = one.comparison
        line = f"At {rung}: {_difference(name, beside)}: {MEANS[beside.verdict]}."
        return line if beside.low is None else f"{line} {interval(beside)}"
    if one.outcome not in ("", "ok"):
        return f"At {rung}: {name} gave no score ({clip(one.outcome, 120)})."
    if one.scale is not None:
        return f"At {rung}: {name} was built with {one.scale:.2f} times the seed's parameters and did not run."
    return f"At {rung}: {name} was built and did not run."


def needs(findings: Findings, where: str = "") -> list[str]:
    """What a longer run would need; `where`: " --dir FOLDER" for commands to type."""
    need, seen = findings.needs, findings.final or findings.search
    resume = f"evo resume{where}"
    if seen is None and findings.children:
        lines = [
            f"More children: {count(findings.children, 'variant')} beside the seed gave nothing better."
        ]
        if findings.noise is not None:
            sd = value(findings.objective, findings.noise.sd)
            lines.append(
                f"One run varies by {sd} (sd): a smaller gain is not seen in a single run."
            )
        return lines
    if need is None or seen is None:
        return ["More runs: without two paired runs nothing can be said about what it takes."]
    metric = findings.objective
    lines = [
        f"{count(need.n, 'pair')} of runs show a difference of {value(metric, need.visible)} four times out of "
        f"five (sd of one difference {value(metric, need.sd)})."
    ]
    observed = value(metric, abs(seen.difference))
    if need.blocks is None:
        lines.append(
            f"A difference of {observed} drowns in this noise: no sensible number of pairs shows it."
        )
    elif need.blocks > seen.n:
        lines.append(
            f"If the true difference is the {observed} seen here, about {need.blocks} pairs show it: "
            f"`{resume} --set policy.final_blocks={need.blocks}`."
        )
    return lines


def failed(kinds: tuple[Failures, ...]) -> list[str]:
    """Failures by kind, with the last reason of each."""
    return [
        f"{one.count} {one.kind.replace('_', ' ')}, the last ({short(one.variant_id)}): "
        f"{clip(one.example, 110) or 'no reason given'}"
        for one in kinds
    ]


def early(one: Shadowed) -> str:
    """What early stopping did, or would have done."""
    if one.mode == "off":
        return "off"
    acts = "acts" if one.mode == "on" and one.may_stop else "in shadow"
    if one.mode == "on" and not one.may_stop:
        acts = "on, but not yet shown to be safe: in shadow"
    told = f"{acts}; would have stopped {count(one.stops, 'run')}, {one.wrong} of the top tenth"
    told += f" (at most {share(one.at_most)}), and saved {duration(one.saves_seconds)}"
    return f"{told}; stopped {one.stopped}" if one.stopped else told


def voided(reasons: Sequence[str]) -> str:
    """How many runs do not count, and the last reason."""
    return f"{count(len(reasons), 'run')} made again; the last: {clip(reasons[-1], 100)}"


def drift(metric: str, one: HostDrift) -> str:
    """Where a host's reference runs of the seed stand."""
    limits = f"{value(metric, one.low)} to {value(metric, one.high)}"
    told = (
        f"{plain(one.host)}: {count(one.references, 'reference run')}, now {value(metric, one.now)}"
    )
    return (
        f"{told}, outside {limits}: look at load and clocks"
        if one.outside
        else f"{told}, within {limits}"
    )
