"""Which way of taking block effects off, and of racing the last leaders, decides best; Markdown tables.

python benchmarks/simulate_estimates.py [--quick]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np

from population.statistics.blocks import block_effects
from population.statistics.race import race

Scores = dict[int, float]
Rule = Callable[
    [Sequence[Scores]], dict[int, float]
]  # variants, the seed first -> effects by block

SHAPES = {"2": (4, 2), "4 2": (4, 4, 2), "6 4 3": (4, 6, 4, 3), "12 of 4": (4,) + (4,) * 12}
SHARED = (0.0, 0.25, 0.5, 0.75, 0.95)


def nothing(variants: Sequence[Scores]) -> dict[int, float]:
    return dict.fromkeys(variants[0], 0.0)


def difference(variants: Sequence[Scores], coefficient: float = 1.0) -> dict[int, float]:
    seed = variants[0]
    centre = float(np.mean(list(seed.values())))
    return {block: coefficient * (score - centre) for block, score in seed.items()}


def regression(variants: Sequence[Scores], confidence: float | None = 0.8) -> dict[int, float]:
    """On the seed's deviations; used when its lower bound is above 0 (None: always, clipped)."""
    from scipy.special import stdtrit

    seed, x, y, freedom = variants[0], [], [], -1
    for scores in variants[1:]:
        shared = [block for block in scores if block in seed]
        if len(shared) > 1:
            base = np.array([seed[b] for b in shared])
            mine = np.array([scores[b] for b in shared])
            x += (base - base.mean()).tolist()
            y += (mine - mine.mean()).tolist()
            freedom += len(shared) - 1
    if freedom < 1:
        return nothing(variants)
    slope = float(np.dot(x, y) / np.dot(x, x))
    error = float(
        np.sqrt(np.sum((np.array(y) - slope * np.array(x)) ** 2) / freedom / np.dot(x, x))
    )
    gated = confidence is not None
    if gated and (freedom < 3 or slope < stdtrit(freedom, confidence) * error):
        return nothing(variants)
    return difference(variants, min(max(slope, 0.0), 1.0))


def mixed_model(variants: Sequence[Scores]) -> dict[int, float]:
    return dict(block_effects(variants).centred_on(list(variants[0])).effects)


RULES: dict[str, Rule] = {
    "nothing": nothing,
    "difference to the seed": difference,
    "regression on the seed, always": lambda variants: regression(variants, None),
    "regression, 80 % bound above 0": regression,
    "mixed model, F test at 90 % (in force)": mixed_model,
}


def loss(shape: tuple[int, ...], shared: float, rng: np.random.Generator) -> list[float]:
    """By rule: what deciding between any two of seed, front and one new child loses, run sds."""
    blocks = rng.normal(0, math.sqrt(shared), 8)
    sizes = [*shape, 1]
    levels = np.array([0.0, *rng.normal(0, 1, len(sizes) - 1)])
    own = rng.normal(0, math.sqrt(1 - shared), (len(sizes), 8))
    runs = [
        {b: float(levels[k] + blocks[b] + own[k, b]) for b in range(n)} for k, n in enumerate(sizes)
    ]
    lost = []
    upper = np.triu_indices(len(sizes), 1)
    gaps = (levels[:, None] - levels)[upper]
    for rule in RULES.values():
        effects = rule(runs[:-1])
        means = np.array(
            [np.mean([y - effects.get(b, 0.0) for b, y in scores.items()]) for scores in runs]
        )
        wrong = np.sign((means[:, None] - means)[upper]) != np.sign(gaps)
        lost.append(float((np.abs(gaps) * wrong).mean()))
    return lost


def block_table(draws: int) -> None:
    print(
        "Mean loss of a choice between two variants (run sds, x 1000), seed on 4 blocks, front on:\n"
    )
    print("| rule | front on | " + " | ".join(f"shared {s}" for s in SHARED) + " | mean |")
    print("|---|---|" + "---|" * (len(SHARED) + 1))
    for name, shape in SHAPES.items():
        found = np.array(
            [
                np.mean(
                    [loss(shape, s, np.random.default_rng([k, 5])) for k in range(draws)], axis=0
                )
                for s in SHARED
            ]
        )
        for rule, row in zip(RULES, 1000 * found.T, strict=True):
            cells = " | ".join(f"{value:.0f}" for value in (*row, row.mean()))
            print(f"| {rule} | {name} | {cells} |")


def raced(k: int, runs: int, shared: float, spread: float, rng: np.random.Generator) -> list[float]:
    """What the winner falls short of the best: no race, equal split, OCBA, sequential halving."""
    truth = rng.normal(0, spread, k)
    before = truth + rng.normal(0, math.sqrt(0.5), k)  # two runs of the search
    made = truth[:, None] + rng.normal(0, math.sqrt(shared), runs)
    made = made + rng.normal(0, math.sqrt(1 - shared), (k, runs))
    order = np.argsort(before)
    ids = [str(v) for v in order]
    scores: dict[str, Scores] = {id: {} for id in ids}
    while (state := race(ids, runs, scores)).to_run:
        for id, block in state.to_run:
            scores[id][block] = float(made[int(id), block])
    equal = made[:, : runs // k].mean(axis=1).argmin()
    picks = [before.argmin(), equal, _ocba(made, runs), int(state.winner or 0)]
    return [float(truth[pick] - truth.min()) for pick in picks]


def _ocba(made: np.ndarray, runs: int) -> int:
    """One run at a time to the variant furthest below its optimal share (Chen et al. 2000); sd known."""
    k = len(made)
    counts = np.full(k, min(2, max(1, runs // k)))
    for _ in range(runs - int(counts.sum())):
        means = np.array([made[v, : counts[v]].mean() for v in range(k)])
        best = int(means.argmin())
        ratio = 1 / np.maximum(means - means[best], 0.05) ** 2
        ratio[best] = 0
        ratio[best] = math.sqrt(float((ratio**2).sum()))
        counts[int((ratio / ratio.sum() * (counts.sum() + 1) - counts).argmax())] += 1
    return int(np.argmin([made[v, : counts[v]].mean() for v in range(k)]))


def race_table(draws: int) -> None:
    print(
        "What the winner of the final race falls short of the best leader (run sds), blocks explain half:\n"
    )
    print("| leaders | runs | spread | no race | equal split | OCBA | halving (in force) |")
    print("|---|---|---|---|---|---|---|")
    for k, runs in ((4, 16), (4, 32), (8, 16), (8, 32)):
        for spread in (0.3, 1.0):
            found = [
                raced(k, runs, 0.5, spread, np.random.default_rng([s, 6])) for s in range(draws)
            ]
            cells = " | ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
            print(f"| {k} | {runs} | {spread} | {cells} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws")
    draws = 150 if parser.parse_args().quick else 1500
    block_table(draws)
    print()
    race_table(draws)


if __name__ == "__main__":
    main()
