"""What a block does to everyone who runs on it, and how much of a run's noise that is.

Score = level of the variant + effect of the block + rest: the two-way additive model of everyone's runs.
A level is the mean of a variant's scores less the effects of their blocks, so that two variants are compared
as if they had run on the same ones. Effects are the mixed model's predictions (Henderson 1975, Best linear
unbiased estimation and prediction), with u the axes and s the sizes of what the variants leave of the blocks:

    effects = sum over axes of u (u'y) / (s + rest variance / block variance)

The ratio of the variances is the least that their F test at CONFIDENCE does not refuse (Wald 1940, A note on
the analysis of variance; by the mean size where sizes differ): blocks are taken to do as much as they may. So
long as nothing tells the rest from blocks it is 0: least squares, where a child on one of the seed's blocks
stands to the seed exactly as their paired runs do. Only runs that show that blocks do little bring it back to
plain means. `docs/results.md` has what that decides better and worse than other rules.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from population.statistics.distributions import f_quantile

ByBlock = Mapping[int, float]

CONFIDENCE = 0.9  # of the F test that blocks do no more than what is taken off
MIN_FREEDOM = 3  # of the rest, before its sd is told
ROUNDING = 1e-14  # of a score that is the same on every block, as a share of it
NEGLIGIBLE = 1e-9  # eigenvalues and squares this far below the largest are rounding


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """Effects to take off, in the metric's unit, by block.

    `block_sd` and `rest_sd`, estimated by moments, make up a run's sd (NaN while the latter has no freedom);
    `correlation` is the share of a run's variance that its block explains, at `freedom` degrees of the rest.
    """

    block_sd: float = math.nan
    rest_sd: float = math.nan
    freedom: int = 0
    effects: Mapping[int, float] = field(default_factory=dict)

    @property
    def noise_is_known(self) -> bool:
        """Whether enough runs tell what blocks do from the rest for `rest_sd` to be believed."""
        return self.freedom >= MIN_FREEDOM

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
    sums, squares, freedom, largest = np.zeros(len(blocks)), 0.0, 0, 0.0
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
        largest = max(largest, float(np.abs(values).max()))
    if squares <= freedom * (ROUNDING * largest) ** 2:
        return BlockEffects()
    return _solve(blocks, design, sums, squares, freedom)


def _solve(
    blocks: list[int],
    design: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    sums: np.ndarray[tuple[int], np.dtype[np.float64]],
    squares: float,
    freedom: int,
) -> BlockEffects:
    """Variances by moments, and the effects shrunk by the least ratio of them that may be."""
    sizes, axes = np.linalg.eigh(design)
    real = sizes > NEGLIGIBLE * sizes[-1]
    sizes, along = sizes[real], (axes.T @ sums)[real]
    rank = len(sizes)
    left = freedom - rank
    explained = float((along**2 / sizes).sum())
    block_sd, rest_sd, ratio = math.nan, math.nan, 0.0
    if left:
        rest = max(squares - explained, 0.0) / left
        block_sd = math.sqrt(max(0.0, explained - rank * rest) / float(sizes.sum()))
        rest_sd = math.sqrt(rest)
        seen = explained / rank / rest if rest > NEGLIGIBLE * explained else math.inf
        surplus = seen / f_quantile(1 - CONFIDENCE, rank, left) - 1
        ratio = float(sizes.mean()) / surplus if surplus > 0 else math.inf
    if ratio == math.inf:
        return BlockEffects(block_sd, rest_sd, left)
    effects = axes[:, real] @ (along / (sizes + ratio))
    by_block = dict(zip(blocks, effects.tolist(), strict=True))
    return BlockEffects(block_sd, rest_sd, left, by_block)
