"""What a block does to everyone who runs on it, and how much of a run's noise that is.

Score = level of the variant + effect of the block + rest, effects random: the two-way mixed model
(Henderson 1975, Best linear unbiased estimation and prediction; variances by his method 3).
Its shrunk effects are a control variate with an estimated coefficient (Law, Simulation Modeling and
Analysis, 11.4) whose control is everyone with two blocks, not the seed alone: that decided better
at every size and correlation tried (`docs/results.md`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

ByBlock = Mapping[int, float]

CONFIDENCE = 0.9  # of the F test by which blocks are established
MIN_FREEDOM = 3  # of the rest
TERMS = 60  # of a continued fraction: many more than it takes where it is used
NEGLIGIBLE = 1e-9  # eigenvalues and squares this far below the largest are rounding


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """Effects to take off, in the metric's unit, by block: empty unless established.

    `block_sd` and `rest_sd` make up a run's sd (NaN while the latter has no freedom); `correlation`
    is the share of a run's variance that its block explains, at `freedom` degrees of the rest.
    """

    block_sd: float = math.nan
    rest_sd: float = math.nan
    freedom: int = 0
    effects: Mapping[int, float] = field(default_factory=dict)

    @property
    def established(self) -> bool:
        """Whether blocks move everyone, as far as anyone can tell."""
        return bool(self.effects)

    @property
    def correlation(self) -> float:
        """Between two variants on one block."""
        total = self.block_sd**2 + self.rest_sd**2
        return self.block_sd**2 / total if total else 0.0

    def centred_on(self, blocks: Collection[int]) -> BlockEffects:
        """The same, so that the mean effect over these blocks is 0."""
        known = [self.effects[block] for block in blocks if block in self.effects]
        if not known:
            return self
        mean = sum(known) / len(known)
        moved = {block: effect - mean for block, effect in self.effects.items()}
        return BlockEffects(self.block_sd, self.rest_sd, self.freedom, moved)

    def taken_off(self, scores: ByBlock) -> dict[int, float]:
        """Scores less the effects of their blocks."""
        return {block: score - self.effects.get(block, 0.0) for block, score in scores.items()}


def block_effects(variants: Iterable[ByBlock]) -> BlockEffects:
    """From the scores by block of every variant; those with one block say nothing and are skipped."""
    several = [scores for scores in variants if len(scores) > 1]
    blocks = sorted({block for scores in several for block in scores})
    if not blocks:
        return BlockEffects()
    place = {block: k for k, block in enumerate(blocks)}
    design = np.zeros((len(blocks), len(blocks)))  # what is left of the blocks after the variants
    sums, squares, freedom = np.zeros(len(blocks)), 0.0, 0
    for scores in several:
        order = sorted(scores)  # sums of floats depend on their order: not on who came first
        at = [place[block] for block in order]
        values = np.array([scores[block] for block in order])
        deviations = values - values.mean()
        design[at, at] += 1.0
        design[np.ix_(at, at)] -= 1.0 / len(at)
        sums[at] += deviations
        squares += float(deviations @ deviations)
        freedom += len(at) - 1
    return _solve(blocks, design, sums, squares, freedom)


def _solve(
    blocks: list[int],
    design: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    sums: np.ndarray[tuple[int], np.dtype[np.float64]],
    squares: float,
    freedom: int,
) -> BlockEffects:
    """Variances by moments, the F test, and the effects shrunk by the ratio of the variances."""
    sizes, axes = np.linalg.eigh(design)
    real = sizes > NEGLIGIBLE * sizes[-1]
    sizes, along = sizes[real], (axes.T @ sums)[real]
    rank = len(sizes)
    left = freedom - rank
    if left < 1 or squares == 0:
        return BlockEffects()
    explained = float((along**2 / sizes).sum())
    rest = max(squares - explained, 0.0) / left
    block_variance = max(0.0, explained - rank * rest) / float(sizes.sum())
    found = BlockEffects(math.sqrt(block_variance), math.sqrt(rest), left)
    exact = rest <= NEGLIGIBLE * block_variance
    if left < MIN_FREEDOM or not (
        exact or f_probability(explained / rank / rest, rank, left) > CONFIDENCE
    ):
        return found
    ratio = rest / block_variance
    effects = axes[:, real] @ (along / (sizes + ratio))
    by_block = dict(zip(blocks, effects.tolist(), strict=True))
    return BlockEffects(found.block_sd, found.rest_sd, left, by_block)


def f_probability(ratio: float, above: float, below: float) -> float:
    """P(F <= ratio) with these degrees of freedom, without a statistics library: reading stays light."""
    return _beta_ratio(above * ratio / (above * ratio + below), above / 2, below / 2)


def _beta_ratio(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta_ratio(1 - x, b, a)
    if x <= 0:
        return 0.0
    tail = 0.0
    for m in range(TERMS, -1, -1):
        tail = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)) / (1 + tail)
        if m:
            tail = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)) / (1 + tail)
    log_front = a * math.log(x) + b * math.log1p(-x) - math.log(a)
    return math.exp(log_front + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / (1 + tail)
