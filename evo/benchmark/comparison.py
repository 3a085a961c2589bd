"""What the cells say together: robust means with intervals, who beats whom, and how much of a report is luck.

Interquartile means with stratified bootstrap intervals and probabilities of improvement after Agarwal et al.
2021 (Deep Reinforcement Learning at the Edge of the Statistical Precipice); the strata are the landscapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evo.benchmark.cells import Pick, Result

DRAWS = 2000
DRAWS_SEED = 11
CONFIDENCE = 0.95

Scores = Mapping[str, np.ndarray]  # by landscape: one value a seed, in the order of seeds


@dataclass(frozen=True, slots=True)
class Bounds:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ContestantStanding:
    """One contestant over all landscapes.

    `regret`: interquartile mean of true regret as a share of the median setting's; `beaten`: how likely the
    one compared is better; `gap`: it minus this one in mean regret by seed, in percentage points averaged over
    landscapes.
    """

    contestant: str
    regret: Bounds
    by_landscape: Mapping[str, Bounds]  # mean true regret, percentage points
    optimism: Bounds
    runs: float
    llm_tokens: float  # of a cell
    llm_dollars: float | None  # None: a price is unknown
    beaten: Bounds | None
    gap: Bounds | None


def standings(
    results: Sequence[Result],
    pick: Callable[[Result], Pick],
    scale: Mapping[str, float],
    compared: str,
) -> list[ContestantStanding]:
    """All contestants, best first. `scale`: by landscape the regret of its median setting."""
    by_name: dict[str, list[Result]] = {}
    for one in results:
        by_name.setdefault(one.cell.contestant, []).append(one)
    regrets = {name: _scores(found, lambda r: pick(r).regret) for name, found in by_name.items()}
    mine = regrets.get(compared)
    table = []
    for name, found in by_name.items():
        optimism = _scores(found, lambda r: pick(r).optimism)
        other = None if mine is None or name == compared else regrets[name]
        table.append(
            ContestantStanding(
                name,
                interquartile_mean({k: v / scale[k] for k, v in regrets[name].items()}),
                {k: bootstrap({k: v}, _mean) for k, v in regrets[name].items()},
                bootstrap(optimism, _mean),
                float(np.mean([pick(one).runs for one in found])),
                float(np.mean([one.llm_tokens for one in found])),
                _dollars(found),
                None if mine is None or other is None else improvement(mine, other),
                None if mine is None or other is None else gap(mine, other),
            )
        )
    return sorted(table, key=lambda one: one.regret.value)


def _dollars(found: Sequence[Result]) -> float | None:
    known = [one.llm_dollars for one in found if one.llm_dollars is not None]
    return float(np.mean(known)) if len(known) == len(found) else None


def interquartile_mean(scores: Scores) -> Bounds:
    """The mean of the middle half of all scores."""
    return bootstrap(scores, lambda drawn: _middle(np.concatenate(list(drawn.values()), axis=-1)))


def improvement(mine: Scores, other: Scores) -> Bounds:
    """How likely a cell of mine has less regret than one of another's; ties count half."""
    shared = [name for name in mine if name in other]

    def chance(drawn: Scores) -> np.ndarray:
        each = []
        for name in shared:
            a, b = drawn[f"a {name}"][..., :, None], drawn[f"b {name}"][..., None, :]
            each.append(((a < b) + 0.5 * (a == b)).mean(axis=(-2, -1)))
        mean: np.ndarray = np.mean(each, axis=0)
        return mean

    strata = {f"a {n}": mine[n] for n in shared} | {f"b {n}": other[n] for n in shared}
    return bootstrap(strata, chance, draws=400)


def gap(mine: Scores, other: Scores) -> Bounds:
    """Mine minus the other's by seed, where both have one; the mean over landscapes."""
    shared = [name for name in mine if name in other and len(mine[name]) == len(other[name])]
    return bootstrap({name: mine[name] - other[name] for name in shared}, _mean)


def bootstrap(
    scores: Scores, statistic: Callable[[Scores], np.ndarray], draws: int = DRAWS
) -> Bounds:
    """A statistic with its percentile interval, cells drawn anew within each stratum."""
    rng = np.random.default_rng(DRAWS_SEED)
    drawn = {
        name: values[rng.integers(len(values), size=(draws, len(values)))]
        for name, values in scores.items()
    }
    low, high = np.quantile(statistic(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    value = statistic({name: values[None] for name, values in scores.items()})[0]
    return Bounds(float(value), float(low), float(high))


def curves(results: Sequence[Result], landscape: str) -> dict[str, np.ndarray]:
    """By contestant [3, points]: median true regret at equal steps of the budget, and its quartiles."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for one in results:
        if one.cell.landscape == landscape:
            found.setdefault(one.cell.contestant, []).append(one.curve)
    return {name: np.quantile(rows, [0.5, 0.25, 0.75], axis=0) for name, rows in found.items()}


def _scores(results: Sequence[Result], value: Callable[[Result], float]) -> dict[str, np.ndarray]:
    by_landscape: dict[str, list[tuple[int, float]]] = {}
    for one in results:
        by_landscape.setdefault(one.cell.landscape, []).append((one.cell.seed, value(one)))
    return {name: np.array([v for _, v in sorted(rows)]) for name, rows in by_landscape.items()}


def _mean(drawn: Scores) -> np.ndarray:
    mean: np.ndarray = np.mean([values.mean(axis=-1) for values in drawn.values()], axis=0)
    return mean


def _middle(values: np.ndarray) -> np.ndarray:
    """The mean without the lower and the upper quarter, along the last axis."""
    count = values.shape[-1]
    cut = count // 4
    middle: np.ndarray = np.sort(values, axis=-1)[..., cut : count - cut].mean(axis=-1)
    return middle
