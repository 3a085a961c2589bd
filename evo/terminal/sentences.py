"""Findings in plain words. No claim without its n and, from two runs on, its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evo.analysis.comparison import Comparison, PairVerdict
from evo.analysis.findings import Findings, Graduate, KnobChange, LineageStep, Proof, Size
from evo.analysis.health import Failures, HostDrift, Shadowed
from evo.terminal.text import (
    better,
    better_range,
    clip,
    count,
    duration,
    plain,
    share,
    short,
    value,
)
from population.metrics import JUDGED, METRICS, SELF_REPORTED, Trust, is_held_out, label
from population.statistics import NoiseKind
from population.statistics.intervals import Interval
from population.statistics.race import SelectionBias

MAX_KNOBS = 8
MAX_ODDS = 1_000_000  # beyond it the number says nothing more
OVER_UNDER = ("too much", "too little")

MIN_FREEDOM = 3  # degrees of it below which a sd is not worth telling


def found(findings: Findings) -> list[str]:
    """What was found: the leader compared with the seed."""
    leader = findings.leader_id
    if not findings.statuses:
        return ["Nothing has been measured yet."]
    if findings.seed is None:
        return ["The seed has no score, so nothing can be compared with it."]
    if not findings.children:
        return ["Only the seed has been measured: there is no child to compare with it yet."]
    if findings.search is None or leader is None:
        return [
            "No child is on the front: nothing better than the seed was found.",
            *_lucky(findings),
        ]
    name = short(leader)
    if findings.final is not None:
        where = f"On {count(findings.final.n, 'block')} that played no part in choosing it, "
        return [where + _difference(name, findings.final) + f": {means(findings.final)}."]
    flatters = (
        f"{_difference(name, findings.search)}. These runs also chose it, so the figure flatters; "
    )
    if findings.final_failed:
        failed = "; ".join(findings.final_failed)
        return [f"{flatters}the comparison on fresh blocks gave no pair of scores: {failed}."]
    return [f"{flatters}a comparison on fresh blocks is still to come."]


def headline(findings: Findings) -> str:
    """The one thing to know in plain words, "26 % fewer bits per byte than the seed ..."; "" without one.

    Only what blocks show that chose nobody, and no more than they show.
    """
    one = findings.final
    if one is None:
        return ""
    if findings.proof is not None and one.gain > 0:
        word = "" if findings.trust is Trust.MEASURED else " of self-reported scores"
        return f"{share_gained(one)} than the seed, certified on fresh blocks{word}"
    if one.verdict in (PairVerdict.BETTER, PairVerdict.WORSE):
        return f"{share_gained(one)} than the seed on {count(one.n, 'fresh block')}, not certified"
    told = means(one)
    return f"{told[0].upper()}{told[1:]}"


def share_gained(one: Comparison) -> str:
    """A difference as a share of what it is held against: "26 % fewer bits per byte"."""
    if not one.reference_mean:
        return better(one.metric, one.gain, one.se)
    percent = 100 * abs(one.gain / one.reference_mean)
    digits = (
        f"{percent:.0f}"
        if percent >= 10
        else f"{percent:.1f}"
        if percent >= 1
        else f"{percent:.2g}"
    )
    smaller = (one.gain > 0) == one.lower_is_better
    unit = METRICS[one.metric].unit if one.metric in METRICS else ""
    if unit == "bits per byte":
        return f"{digits} % {'fewer' if smaller else 'more'} {unit}"
    return f"{digits} % {'lower' if smaller else 'higher'} {label(one.metric).replace('_', ' ')}"


def trust(findings: Findings) -> list[str]:
    """Who says the figures, where it is not us; and what repeating a run can show."""
    if findings.trust is Trust.MEASURED:
        return []
    said = JUDGED if findings.trust is Trust.JUDGED else SELF_REPORTED.removeprefix("* ")
    lines = [f"{label(findings.objective)} is {said}."]
    return lines + ([noise_kind(findings.noise_kind)] if findings.noise_kind else [])


def noise_kind(kind: NoiseKind) -> str:
    """What makes two runs of the same code differ, and what follows from it."""
    return {
        NoiseKind.SEEDED: "The task is seeded: the same seed gives the same number, another one another.",
        NoiseKind.NOISY: "The task is noisy: two runs with the same seed differ as much as two with others.",
        NoiseKind.BOTH: "The task is seeded and noisy: seeds differ by more than repeats of one seed do.",
        NoiseKind.DETERMINISTIC: "The task is deterministic: two runs gave the same number, and more runs "
        "prove nothing; a gain is certain on this validation set and unknown beyond it. Nothing is certified.",
    }[kind]


def _lucky(findings: Findings) -> list[str]:
    """Why the best mean does not lead."""
    one = findings.lucky
    if one is None:
        return []
    runs = count(one.measured.n, "block")
    return [
        f"{short(one.variant_id)} has a better mean than the seed ({runs}); so few runs are mostly luck, and "
        "what is believed of a child is its mean shrunk to its parent's."
    ]


def means(one: Comparison) -> str:
    """What a difference to the seed means, as far as its pairs can say."""
    if one.verdict in (PairVerdict.BETTER, PairVerdict.WORSE):
        return f"{one.verdict} than the seed"
    pairs = f"{count(one.n, 'pair')} {'is' if one.n == 1 else 'are'} too few to tell"
    if one.verdict is PairVerdict.UNCLEAR and one.gain >= -(one.se or 0.0):
        return "not distinguishable from the seed"
    if not one.gain:
        return "too few pairs to say which is better"
    return f"looks {'better' if one.gain > 0 else 'worse'}; {pairs}"


def beside(one: Comparison) -> str:
    """A difference with its interval and n: "0.10 better (0.07 to 0.13 better, n=3)"."""
    said = better(one.metric, one.gain, one.se)
    if one.gain_interval is None:
        return f"{said} (n={one.n})"
    return f"{said} ({better_range(one.metric, one.gain_interval, one.se)}, n={one.n})"


def direction(one: Comparison) -> str:
    """Which way the metric of a comparison points."""
    return "lower is better" if one.lower_is_better else "higher is better"


def _difference(name: str, one: Comparison) -> str:
    """The difference alone, with its n: what it means is said beside its interval only."""
    mine, seed = (
        value(one.metric, mean, one.se) for mean in (one.variant_mean, one.reference_mean)
    )
    return (
        f"{name}'s {label(one.metric)} is {mine} against the seed's {seed}, {_gain(one)} "
        f"(n={one.n}; {direction(one)})"
    )


def certainty(findings: Findings) -> list[str]:
    """How sure that is: the interval, what the choosing runs showed, and the noise."""
    lines = []
    if findings.final is not None:
        lines.append(interval(findings.final))
        if findings.looks > 1:  # in one line with it: who shows only the interval shows this, too
            lines[-1] += (
                f" It was compared {findings.looks} times, for the search went on in between: the interval "
                "does not allow for that, so believe it less."
            )
        if findings.search is not None:
            lines.append(
                f"On {count(findings.search.n, 'block')} that helped to choose it (races left out), it was "
                f"{_gain(findings.search)} in {label(findings.search.metric)}; believe the figure from the "
                "fresh blocks."
            )
    elif findings.search is not None:
        lines.append("Not known yet: the only runs that compare it with the seed also chose it.")
    if findings.test is not None:
        lines.append(tested(findings.test))
    if findings.selection is not None:
        claimed = findings.final.metric if findings.final is not None else findings.objective
        lines.append(_selection(findings.objective, claimed, findings.selection))
    if findings.noise is not None:
        level = findings.noise
        sd = value(findings.objective, level.sd, level.sd)
        lines.append(
            f"Noise: one run of the same variant varies by {sd} from block "
            f"to block (sd, {count(level.freedom, 'degree')} of freedom, {count(level.variants, 'variant')})."
        )
    elif findings.statuses:
        lines.append("Noise: unknown, no variant was measured on two blocks.")
    return lines


def proven(one: Proof) -> str:
    """What a certificate says."""
    odds = f"{math.floor(min(one.e_value, MAX_ODDS)):,}"  # no more than is proven
    return (
        f"Certified by {count(one.pairs, 'pair')} of runs on fresh blocks: chance alone gives such evidence in "
        f"at most one of {odds} campaigns (e-value)."
    )


def recorded(chain: Sequence[LineageStep]) -> str:
    """Which steps try ideas of a bank, whose they are, and where they were measured; "" for none."""
    steps = [f"{place}" for place, one in enumerate(chain, 1) if one.bank]
    if not steps:
        return ""
    who = dict.fromkeys(one.recorded_from for one in chain if one.bank and one.recorded_from)
    source = f" from {', '.join(f'a {plain(one)}' for one in who)}" if who else " elsewhere"
    which = "The idea of step" if len(steps) == 1 else "The ideas of steps"
    named = steps[0] if len(steps) == 1 else f"{', '.join(steps[:-1])} and {steps[-1]}"
    verb, gain = ("was", "it gains") if len(steps) == 1 else ("were", "they gain")
    return (
        f"{which} {named} {verb} recorded{source} in an earlier campaign; what {gain} was measured "
        "here and now."
    )


def held(one: Graduate) -> str:
    """Whether the leader's gain held at a larger rung, and by how much."""
    there = one.comparison
    if there is None:
        return graduation(one)
    if there.verdict is PairVerdict.BETTER:
        told = "The gain held"
    elif there.verdict is PairVerdict.TOO_FEW and there.gain > 0:
        told = "The gain seems to hold"
    elif there.gain > 0:
        told = "Whether the gain held is not established"
    else:
        told = "The gain did not hold"
    return f"{told}: {share_gained(there)}. {graduation(one)}"


def against(findings: Findings) -> list[str]:
    """What is worth knowing against the leader: size, growth, where it did not run, how small the scale is."""
    if findings.leader_id is None:
        return []
    lines = []
    if findings.size is not None:
        lines.append(_size(findings.size))
    lines += [f"Built for {plain(rung)}, it {remark}." for rung, remark in findings.growth]
    if findings.not_run:
        lines.append(f"It has not run at {', '.join(map(plain, findings.not_run))}.")
    scale = f" ({plain(findings.scale)})" if findings.scale else ""
    lines.append(
        f"The search measured at {plain(findings.rung)}{scale}: what wins there need not win where you train."
    )
    return lines


def _size(one: Size) -> str:
    unit = "MB of weights" if one.metric == "weights_mb" else one.metric
    mine, seed = (
        f"{number:.3g}" if number < 1000 else f"{number:,.0f}" for number in (one.leader, one.seed)
    )
    ratio = f", {one.leader / one.seed:.3g} times the seed's {seed}" if one.seed else ""
    limits = f" ({plain(one.limits)})" if one.limits else ""
    return f"Size: {mine} {unit}{ratio}{limits}."


def _gain(one: Comparison) -> str:
    return better(one.metric, one.gain, one.se)


def _selection(metric: str, claimed: str, one: SelectionBias) -> str:
    """What the search claimed in its metric against what blocks that chose nobody show in that of the claim."""
    noise = _half(one.bias) / 2
    search, final = (
        f"{better(metric, gain, noise)} (n={n}{beside})"
        for gain, n, beside in (
            (one.search.mean, one.search.n, "" if metric == claimed else f", {metric}"),
            (one.fresh.value, one.pairs, "" if metric == claimed else f", {claimed}"),
        )
    )
    line = (
        f"Selection bias: the search saw it {search}, fresh blocks show {final}; the difference is "
        f"{better(metric, one.bias.value, noise, OVER_UNDER)}"
    )
    if one.bias.low != one.bias.low:
        return f"{line}."
    ends = better_range(metric, (one.bias.low, one.bias.high), noise, OVER_UNDER)
    return f"{line} (95 % interval {ends})."


def _half(one: Interval) -> float:
    """Half an interval's width; 0 without one."""
    return 0.0 if one.low != one.low else (one.high - one.low) / 2


def tested(one: Comparison) -> str:
    """How the leader stands to the seed in what nothing was searched by."""
    line = f"On the test text, which nobody searched on, its {one.metric} is "
    if is_held_out(one.metric):
        line = f"Its {label(one.metric)}, which nothing was searched by, is "
    if one.verdict is PairVerdict.TOO_FEW:
        return f"{line}{beside(one)}: {means(one)}."
    return f"{line}{beside(one)} than the seed's."


def interval(one: Comparison) -> str:
    """The interval of a paired difference, or plainly that there are too few pairs."""
    ends = one.gain_interval
    if ends is None:
        return f"{count(one.n, 'pair')} of runs: too few to say how sure that is."
    holds = (
        "it holds 0, so chance alone could do this" if ends[0] <= 0 <= ends[1] else "0 lies outside"
    )
    how = f"n={one.n} pairs, t with {count(one.n - 1, 'degree')} of freedom"
    told = better_range(one.metric, ends, one.se)
    return f"{100 * one.confidence:.0f} % interval of the difference: {told} ({how}); {holds}."


def gain_below(one: Comparison | None, fresh: bool) -> str:
    """What a variant gains at the rung below, with its n and how far to believe it."""
    if one is None:
        return "not compared with the seed"
    which = "on blocks that played no part in choosing it" if fresh else "on blocks that chose it"
    told = f"{label(one.metric)} {_gain(one)} than the seed's at {one.rung} ({direction(one)})"
    return f"{told}, {which}: {means(one)}. {interval(one)}"


def knobs(changes: tuple[KnobChange, ...], lines: int) -> str:
    """What differs from the seed, in one line."""
    parts = [
        f"{plain(one.name)} {clip(one.before or 'none', 24)} → {clip(one.after or 'none', 24)}"
        for one in changes[:MAX_KNOBS]
    ]
    if len(changes) > MAX_KNOBS:
        parts.append(f"and {count(len(changes) - MAX_KNOBS, 'more knob')}")
    if lines:
        parts.append(
            f"{count(lines, 'other line')} changed" if parts else f"{count(lines, 'line')} changed"
        )
    return ", ".join(parts) if parts else "nothing but form"


def graduation(one: Graduate) -> str:
    """One variant at a larger rung, compared with the seed there."""
    name, rung = short(one.variant_id), plain(one.rung)
    if one.comparison is not None:
        there = one.comparison
        line = f"At {rung}: {_difference(name, there)}: {means(there)}."
        return line if there.gain_interval is None else f"{line} {interval(there)}"
    if one.outcome not in ("", "ok"):
        return f"At {rung}: {name} gave no score ({clip(one.outcome, 120)})."
    if one.scale is not None:
        return f"At {rung}: {name} was built with {one.scale:.2f} times the seed's parameters and did not run."
    return f"At {rung}: {name} was built and did not run."


def needs(findings: Findings, where: str = "") -> list[str]:
    """What a longer run would need; `where`: " --dir FOLDER" for commands to type."""
    need, seen = findings.needs, findings.final or findings.search
    resume = f"evo resume{where}"
    if findings.seed is None:
        return [
            f"A seed that runs: `evo show seed{where}` tells why it did not. Mended, it needs a new campaign."
        ]
    if seen is None and findings.children:
        lines = [
            f"More children: {count(findings.children, 'variant')} gave nothing better than the seed."
        ]
        if findings.noise is not None:
            sd = value(findings.objective, findings.noise.sd, findings.noise.sd)
            lines.append(
                f"One run varies by {sd} (sd): a smaller gain is not seen in a single run."
                if findings.noise.freedom >= MIN_FREEDOM
                else "Too few runs to say how much one varies: more runs of the seed would."
            )
        return lines
    if need is None or seen is None:
        return ["More runs: without two paired runs nothing can be said about what it takes."]
    metric = findings.objective
    visible, sd = (value(metric, size, need.sd) for size in (need.visible, need.sd))
    lines = [
        f"{count(need.n, 'pair')} of runs show a difference of {visible} four times out of five "
        f"(sd of one difference {sd})."
    ]
    observed = value(seen.metric, abs(seen.difference), seen.se)
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
    """What early stopping did, or would have done; "" while there is nothing to tell."""
    if one.mode == "off" or not (one.stops or one.stopped or one.mode == "on"):
        return ""
    acts = "acts" if one.mode == "on" and one.may_stop else "in shadow"
    if one.mode == "on" and not one.may_stop:
        acts = "on, but not yet shown to be safe: in shadow"
    told = f"{acts}; would have stopped {count(one.stops, 'run')}, {one.wrong} of the top tenth"
    told += f" (at most {share(one.at_most)}), and saved {duration(one.saves_seconds)}"
    return f"{told}; stopped {one.stopped}" if one.stopped else told


def tolerated(tolerances: Mapping[str, str]) -> str:
    """How far two servers may be apart where the seed's precision is reduced; "" elsewhere."""
    told = []
    for rung, words in tolerances.items():
        said = dict(one.split() for one in words.split(", "))
        if "largest" not in said and {"tail", "edge"} <= said.keys():
            told.append(
                f"at {plain(rung)} the seed lets servers differ by {said['tail']} nats in 99.9 % of tokens; a "
                f"peek can gain {said['edge']} a token at most"
            )
    return "; ".join(told)


def freshness(stale: float) -> str:
    """How fresh children are when they run, by the median of what their proposals had not seen."""
    return f"{count(round(stale), 'measurement')} between what a proposal saw and its run (median)"


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
