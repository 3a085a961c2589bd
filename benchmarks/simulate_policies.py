"""Type I, power, coverage, false promotions and true gain in simulated campaigns, as Markdown tables.

python benchmarks/simulate_policies.py [--quick]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from policies import Ours, Regime, Result, World, greedy, race_every_winner

from population.statistics.certification import Rule
from population.statistics.intervals import share_at_most
from population.statistics.power import Noise, normal_noise, simulate, smallest_gain

BUDGET = 300  # runs
ATTEMPTS = {
    "ours": 2,
    "ours, plain means": 2,
    "ours, many attempts": 6,
    "ours, at the end": 1,
    "race every winner": 6,
}
MIN_GAIN = 0.25  # run sds


def normal(sd: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, n: rng.normal(0, sd, n)


def t3(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_t(3, n) / math.sqrt(3)


REGIMES = (
    Regime("few gains of 1 sd", 0.05, 0.25, normal(1.0)),
    Regime("the same, blocks explain half", 0.05, 0.25, normal(1.0), shared=0.5),
    Regime("few gains of 0.5 sd", 0.05, 0.25, normal(0.5)),
    Regime("many gains of 0.3 sd", 0.3, 0.3, normal(0.3), harm_sd=2.0, shared=0.5),
    Regime("heavy tails (t3 noise)", 0.05, 0.25, lambda r, n: r.exponential(1, n), noise=t3),
    Regime("no gains at all", 0.0, 0.5, normal(0.0)),
)
NOISES: dict[str, Noise] = {
    "normal": normal_noise,
    "t with 3 degrees": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "skewed for the challenger": lambda rng, shape: rng.exponential(1, shape) - 1,
    "skewed against it": lambda rng, shape: 1 - rng.exponential(1, shape),
    "drift of 0.5 sd a run, ABBA": lambda rng, shape: (
        rng.normal(size=shape) + np.where(np.arange(shape[1]) % 2 == 0, 0.5, -0.5)
    ),
    "a third of pairs at 3 sd": lambda rng, shape: (
        rng.normal(size=shape) * np.where(rng.random(shape) < 1 / 3, 3, 1)
    ),
}


def power_curve(rule: Rule, pair_sd: float) -> Callable[[float], float]:
    """Power by gain, interpolated between simulated points."""
    gains = np.linspace(0, 6, 25)
    rng = np.random.default_rng(0)
    points = [simulate(rule, float(g), pair_sd, rng, 1500).certified for g in gains]
    return lambda gain: float(np.interp(gain, gains, points))


def campaigns(regime: Regime, policy: str, count: int) -> list[Result]:
    rule = Rule(attempts=ATTEMPTS.get(policy, 1), min_gain=MIN_GAIN)
    power = power_curve(rule, regime.pair_sd) if policy.startswith("ours") else None
    results = []
    for seed in range(count):
        world = World(regime, np.random.default_rng([seed, 2026]), BUDGET)
        if policy == "ours, many attempts":
            results.append(Ours(world, rule, power, every=30, chance=0.5).result())
        elif policy == "ours, at the end":
            results.append(Ours(world, rule, power, every=BUDGET).result())
        elif policy == "ours, plain means":
            results.append(Ours(world, rule, power, shrunk=False).result())
        elif policy == "ours":
            results.append(Ours(world, rule, power).result())
        elif policy == "race every winner":
            results.append(race_every_winner(world, rule))
        else:
            results.append(greedy(world, 3 if policy == "always 3 runs" else 1))
    return results


def row(regime: Regime, policy: str, results: Sequence[Result]) -> str:
    made = [claim for result in results for claim in result.promotions]
    gains = np.array([result.gain for result in results])
    false = [claim for claim in made if claim.true_gain <= 0]
    judged = [claim.covered for claim in made if claim.covered is not None]
    several = sum(any(c.true_gain <= 0 for c in result.promotions) for result in results)
    excess = [claim.claimed - claim.true_gain for claim in made]
    cells = [
        regime.name,
        policy,
        f"{gains.mean():.2f} ± {1.96 * gains.std(ddof=1) / math.sqrt(len(gains)):.2f}",
        f"{len(made) / len(results):.2f}",
        f"{len(false) / len(results):.3f}",
        f"{several / len(results):.3f} (≤ {share_at_most(several, len(results)):.3f})",
        f"{np.mean(excess):+.2f}" if excess else "-",
        f"{np.mean(judged):.2f}" if judged else "-",
    ]
    return "| " + " | ".join(cells) + " |"


def campaign_table(count: int) -> None:
    print(
        f"{count} campaigns of {BUDGET} runs each; unit: the sd of one run. A promotion is false when "
        "the promoted variant is truly no better.\n"
    )
    print(
        "| regime | policy | true gain | promotions | false ones | campaigns with one (upper 95 %) "
        "| claimed - true | coverage of 95 % |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for regime in REGIMES:
        for policy in ("greedy", "always 3 runs", *reversed(ATTEMPTS)):
            print(row(regime, policy, campaigns(regime, policy, count)), flush=True)


def rule_table(attempts: int) -> None:
    print(
        "One attempt; alpha 0.1 over 10 attempts, 16 pairs, null boundary 0; unit: sd of a pair.\n"
    )
    print("| noise of a pair | type I | power at 1 | at 1.5 | at 2 | pairs at 0 | at 1.5 |")
    print("|---|---|---|---|---|---|---|")
    rule = Rule(attempts=10)
    for name, noise in NOISES.items():
        rng = np.random.default_rng(1)
        found = [simulate(rule, g, 1.0, rng, attempts, noise) for g in (0.0, 1.0, 1.5, 2.0)]
        shares = " | ".join(f"{one.certified:.4f}" for one in found)
        print(f"| {name} | {shares} | {found[0].pairs:.1f} | {found[2].pairs:.1f} |")


def smallest_table(attempts: int) -> None:
    print(
        "Smallest gain certified with 80 % power (null boundary 0; sd of a pair), expected pairs.\n"
    )
    print("| attempts | 4 pairs | 6 | 8 | 12 | 16 |")
    print("|---|---|---|---|---|---|")
    for number in (1, 3, 5, 10, 20):
        cells = []
        for pairs in (4, 6, 8, 12, 16):
            rule = Rule(attempts=number, most_pairs=pairs)
            found = smallest_gain(rule, 1.0, np.random.default_rng(2), attempts=attempts)
            cells.append(f"{found.gain:.2f} ({found.pairs:.1f})" if found else "impossible")
        print(f"| {number} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the campaigns")
    quick = parser.parse_args().quick
    started = time.perf_counter()
    rule_table(4000 if quick else 40_000)
    print()
    smallest_table(1000 if quick else 4000)
    print()
    campaign_table(20 if quick else 200)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
