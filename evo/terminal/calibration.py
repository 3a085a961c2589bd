"""Calibration in words a person acts on."""

from __future__ import annotations

from evo.analysis.calibration import Ladder
from population.statistics.noise import Calibration


def noise_sentences(found: Calibration, metric: str) -> list[str]:
    """How noisy a run is, what blocks buy, what can be certified, and what greed would make of it."""
    across, within = found.across, found.within
    lines = [
        f"One run of the same code varies by {across.sd:.4f} {metric} from block to block "
        f"(95 %: {across.low:.4f} to {across.high:.4f}, {across.freedom + 1} blocks) and by "
        f"{within.sd:.4f} on one block ({within.low:.4f} to {within.high:.4f}, {within.freedom + 1} runs)."
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
    if found.smallest is None:
        lines.append(
            f"With {found.rule.most_pairs} pairs and {found.rule.attempts} attempts no gain can be "
            "certified: impossible at this n."
        )
    else:
        lines.append(
            f"The smallest gain this campaign can certify four times out of five is "
            f"{found.smallest.gain:.4f} {metric}, at about {found.smallest.pairs:.0f} pairs of runs "
            f"(at most {found.rule.most_pairs}; alpha {found.rule.alpha:g} over {found.rule.attempts} "
            "attempts). Smaller gains may be real; they will not be proven. A changed script can be noisier "
            "than the seed, and takes more pairs then."
        )
    lines.append(
        f"A loop that keeps whatever scored lower once would keep {found.greedy.keeps:.1f} of "
        f"{found.greedy.children} children that are no better than the seed, and claim a gain of "
        f"{found.greedy.claimed_gain:.4f}."
    )
    return lines


def ladder_sentences(found: Ladder, metric: str) -> list[str]:
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
