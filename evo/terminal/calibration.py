"""Calibration in words a person acts on."""

from __future__ import annotations

from evo.analysis.calibration import CalibrationReport
from evo.terminal.numbers import value
from population.statistics.noise import Calibration, Spread


def calibration_lines(
    found: Calibration | CalibrationReport | None, metric: str, certifies: bool
) -> list[str]:
    """The answer of a calibration, a sentence a line."""
    if found is None:
        return ["Too few runs of the seed ended well to say anything of its noise."]
    if isinstance(found, CalibrationReport):
        return ladder_sentences(found, metric)
    return noise_sentences(found, metric, certifies)


def calibrated_line(folder: str, found: Calibration, metric: str) -> str:
    """What a campaign's own calibration was, for its forecast."""
    return f"calibrated in {folder}: {noise_sentences(found, metric)[0]}"


def noise_sentences(found: Calibration, metric: str, certifies: bool = True) -> list[str]:
    """How noisy a run is, what blocks buy, what can be certified, and what greed would make of it.

    certifies: whether the config asks for proof at all; else what its attempts could certify by default.
    """
    across, within = found.across, found.within
    lines = [
        f"One run of the same code varies by {_spread(across, metric)}, {across.freedom + 1} blocks) "
        f"{metric} from block to block and by {_spread(within, metric)}, {within.freedom + 1} runs) on one "
        "block (sd)."
    ]
    share = found.correlation
    if share.low > 0:
        lines.append(
            f"Comparing on the same blocks takes away {share.value:.0%} of the variance "
            f"(95 %: {share.low:.0%} to {share.high:.0%})."
        )
    else:
        lines.append(
            "Whether comparing on the same blocks helps is not established by so few runs."
        )
    rule, can = found.rule, "can" if certifies else "could"
    if not certifies:
        lines.append(
            "This config certifies nothing (certification.attempts: 0); what follows holds with "
            f"attempts: {rule.attempts}."
        )
    if found.smallest is None or found.smallest_range is None:
        lines.append(
            f"With {rule.most_pairs} pairs and {rule.attempts} attempts no gain {can} be certified: "
            "impossible at this n."
        )
    else:
        low, high = (value(metric, end, across.sd) for end in found.smallest_range)
        gain = value(metric, found.smallest.gain, across.sd)
        lines.append(
            f"The smallest gain it {can} certify four times out of five is {gain} {metric} "
            f"({low} to {high}, since so few runs know the sd no better), at about "
            f"{found.smallest.pairs:.0f} pairs of runs (at most "
            f"{rule.most_pairs}; alpha {rule.alpha:g} over {rule.attempts} attempts). Smaller "
            "gains may be real; they will not be proven. A changed script can be noisier than the seed, and "
            "takes more pairs then."
        )
    lines.append(
        f"A loop that keeps whatever scored better once would keep {found.greedy.keeps:.1f} of "
        f"{found.greedy.children} children that are no better than the seed, and claim a gain of "
        f"{found.greedy.claimed_gain:.4f}."
    )
    return lines


def _spread(one: Spread, metric: str) -> str:
    """An sd with its interval, the bracket left open for its n."""
    low, sd, high = (value(metric, number, one.sd) for number in (one.low, one.sd, one.high))
    return f"{sd} (95 %: {low} to {high}"


def ladder_sentences(found: CalibrationReport, metric: str) -> list[str]:
    """Which rungs give a parameter as much text as the proxy does."""
    lines = [
        f"{place.rung}: depth {place.depth}, budget {place.budget:g}: {metric} {place.val_bpb:.4f}, "
        f"{place.parameters:,.0f} parameters, {place.tokens_per_parameter:.1f} tokens a parameter, "
        f"{place.epochs:.2f} epochs"
        for place in found.places
    ]
    lines += [
        f"For a rung of depth {depth}, give it a budget of about {budget:.3g}: as many tokens a parameter "
        "as at the proxy (within a factor of 2)."
        for depth, budget in found.proposed
    ]
    if found.wants_smaller:
        lines.append(
            "At the proxy's budget a shallower seed scores better: the seed merely wants to be smaller. "
            "Raise the budget or lower the depth, or the search will find that first."
        )
    return lines
