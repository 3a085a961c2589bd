"""Ways to choose operators and models, in simulated campaigns with a known truth, as a Markdown table.

python benchmarks/simulate_portfolio.py [--campaigns 40]

Ten arms: two LLM operators with two models each, six classical ones. At half time good and bad swap.
Unit of gains: the sd of one run. A child gains |N(0, size)| with its arm's chance, else it loses.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from operators.portfolio import SURE, Arm, PortfolioSettings, Reward, posteriors
from population.statistics.effects import expected_gain, weak_prior

HALF = 150  # proposals
SIZE = 2.0  # of a gain
HARM = 3.0
GOOD, MIDDLING, POOR = 0.3, 0.08, 0.03
MODELS, ASKING = ("better", "other"), ("mutate", "rewrite")
CLASSICAL = ("nudge", "tune", "merge", "revert", "simplify", "agent")
ARMS = [*(Arm(name, model) for name in ASKING for model in MODELS), *map(Arm, CLASSICAL)]
LLM_DOLLARS = 0.2  # runs' worth a call
WAITING = 3  # proposals under way

Chooser = Callable[[Sequence[Reward], np.ndarray, np.random.Generator], int]


@dataclass(frozen=True)
class World:
    """The chance of a gain by arm in each half."""

    name: str
    chances: tuple[np.ndarray, np.ndarray]


def chances(best_model: str, best_operator: str, best_classical: str = "") -> np.ndarray:
    found = []
    for arm in ARMS:
        if arm.endpoint:
            factor = (arm.endpoint == best_model, arm.operator == best_operator)
            found.append({2: GOOD, 1: MIDDLING, 0: POOR}[sum(factor)])
        else:
            found.append(GOOD if arm.operator == best_classical else POOR)
    return np.array(found)


WORLDS = (
    World(
        "a model and an operator are better",
        (chances("better", "mutate"), chances("other", "rewrite")),
    ),
    World("a classical operator is better", (chances("", "", "tune"), chances("", "", "revert"))),
    World("all are alike", (np.full(len(ARMS), 0.08),) * 2),
)


def ours(half_life: float = 40, explore: float = 0.15, sure: float = SURE) -> Chooser:
    def choose(rewards: Sequence[Reward], priors: np.ndarray, rng: np.random.Generator) -> int:
        if rng.random() < explore:
            return int(rng.integers(len(ARMS)))
        shape, runs = posteriors(ARMS, priors, rewards, half_life)
        times = sure / SURE
        return int(np.argmax(rng.gamma(times * shape) / (times * runs)))

    return choose


def fixed(rewards: Sequence[Reward], priors: np.ndarray, rng: np.random.Generator) -> int:
    return int(rng.choice(len(ARMS), p=priors / priors.sum()))


def sums(
    rewards: Sequence[Reward], half_life: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Discounted pulls, gains and costs by arm, and the largest gain."""
    place = {arm: at for at, arm in enumerate(ARMS)}
    n, gains, costs = np.zeros(len(ARMS)), np.zeros(len(ARMS)), np.zeros(len(ARMS))
    known = [(at, pull) for at, pull in enumerate(rewards) if not math.isnan(pull.gain)]
    top = max((pull.gain for _, pull in known), default=1.0) or 1.0
    for at, pull in known:
        weight = 0.5 ** ((len(rewards) - 1 - at) / half_life)
        n[place[pull.arm]] += weight
        gains[place[pull.arm]] += weight * pull.gain
        costs[place[pull.arm]] += weight * pull.cost
    return n, gains, costs, top


def beta(half_life: float = 40) -> Chooser:
    """Thompson on gain / largest gain as a fractional success (Agrawal and Goyal 2012), over mean cost."""

    def choose(rewards: Sequence[Reward], priors: np.ndarray, rng: np.random.Generator) -> int:
        n, gains, costs, top = sums(rewards, half_life)
        won = gains / top
        draw = rng.beta(1 + won, 1 + np.maximum(n - won, 0))
        return int(np.argmax(draw / ((costs + 1) / (n + 1))))

    return choose


def ucb(half_life: float = 40) -> Chooser:
    """Discounted UCB (Garivier and Moulines 2011) on gain / largest gain, over mean cost."""

    def choose(rewards: Sequence[Reward], priors: np.ndarray, rng: np.random.Generator) -> int:
        n, gains, costs, top = sums(rewards, half_life)
        seen = np.maximum(n, 1e-3)
        bound = gains / top / seen + 0.5 * np.sqrt(np.log(max(n.sum(), 2.0)) / seen)
        return int(np.argmax(bound / ((costs + 1) / (n + 1)) + 1e-9 * rng.random(len(ARMS))))

    return choose


def greedy(half_life: float = 40) -> Chooser:
    """The best so far per cost, with 10 % at random."""

    def choose(rewards: Sequence[Reward], priors: np.ndarray, rng: np.random.Generator) -> int:
        if rng.random() < 0.1:
            return int(rng.integers(len(ARMS)))
        _, gains, costs, top = sums(rewards, half_life)
        return int(np.argmax((gains / top + 0.1) / (costs + 1) + 1e-9 * rng.random(len(ARMS))))

    return choose


@dataclass(frozen=True)
class Result:
    gain: float  # of all children that gained, in run sds
    first: float  # share of the best arm's kind in proposals 75 to 150
    after: float  # and in the last 75, after the swap


def campaign(world: World, choose: Chooser, rng: np.random.Generator) -> Result:
    priors, rewards = np.ones(len(ARMS)), list[Reward]()
    priors[:4] = 0.5
    hits, total = np.zeros(2 * HALF), 0.0
    for number in range(2 * HALF):
        half = number // HALF
        p = world.chances[half]
        shown = [
            Reward(one.arm, math.nan, one.cost) if at >= len(rewards) - WAITING else one
            for at, one in enumerate(rewards)
        ]
        at = choose(shown, priors, rng)
        gains = rng.random() < p[at]
        true = abs(rng.normal(0, SIZE)) if gains else -abs(rng.normal(0, HARM))
        seen = true + rng.normal(0, math.sqrt(2))
        dollars = LLM_DOLLARS if ARMS[at].endpoint else 0.0
        cost = 1.0 + dollars + (1.0 if seen > 1 else 0.0)  # what looks good is measured again
        variance = 2.0 if seen <= 1 else 1.0
        seen = true + (seen - true) * math.sqrt(variance / 2)
        gain = float(expected_gain(seen, variance, weak_prior(1.0)))
        rewards.append(Reward(ARMS[at], gain, cost))
        hits[number] = p[at] == p.max()
        total += max(true, 0.0)
    return Result(total, hits[HALF // 2 : HALF].mean(), hits[-HALF // 2 :].mean())


CHOOSERS: dict[str, Chooser] = {
    "fixed weights": fixed,
    "greedy, 10 % random": greedy(),
    "discounted UCB": ucb(),
    "Thompson, beta": beta(),
    "Thompson, gamma x 3 (ours)": ours(),
    "ours, half-life 20": ours(20),
    "ours, half-life 80": ours(80),
    "ours, plain Thompson": ours(sure=1.0),
    "ours, no exploring": ours(explore=0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=40)
    campaigns, begun = parser.parse_args().campaigns, time.monotonic()
    print(
        f"{campaigns} campaigns of {2 * HALF} proposals; default settings {PortfolioSettings()}\n"
    )
    print(
        "| world | chooser | gains (run sds) | best arm, 75 to 150 | 225 to 300, swapped at 150 |"
    )
    print("|---|---|---|---|---|")
    for world in WORLDS:
        for name, choose in CHOOSERS.items():
            rngs = [np.random.default_rng([seed, 7]) for seed in range(campaigns)]
            found = [campaign(world, choose, rng) for rng in rngs]
            gains = np.array([one.gain for one in found])
            half = 1.96 * gains.std(ddof=1) / math.sqrt(campaigns)
            first, after = (
                np.mean([getattr(one, key) for one in found]) for key in ("first", "after")
            )
            shares = "- | -" if "alike" in world.name else f"{first:.2f} | {after:.2f}"
            print(
                f"| {world.name} | {name} | {gains.mean():.1f} ± {half:.1f} | {shares} |",
                flush=True,
            )
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
