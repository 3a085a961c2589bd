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
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from statistics import NormalDist, fmean

import numpy as np
import numpy.typing as npt

from population.statistics.distributions import CONFIDENCE as TOLD
from population.statistics.distributions import f_quantile, t_quantile
from population.types import Estimate

ByBlock = Mapping[int, float]
Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.9  # of the F test that blocks do no more than what is taken off
MIN_FREEDOM = 3  # of the rest, before its sd is told
ROUNDING = 1e-14  # of a score that is the same on every block, as a share of it
NEGLIGIBLE = 1e-9  # eigenvalues and squares this far below the largest are rounding
NEWS = 0.05  # as many more runs of a block, before it is asked again what blocks do
NORMAL_ENDS = NormalDist().inv_cdf((1 + TOLD) / 2)  # of an interval, in sds that are known


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """Effects to take off, in the metric's unit, by block.

    `block_sd` and `rest_sd`, estimated by moments, make up a run's sd (NaN while the latter has no freedom);
    `correlation` is the share of a run's variance that its block explains, at `freedom` degrees of the rest.
    `roots`: [axes] of each block; the product of two blocks' is how uncertain their effects are together, over
    the rest's variance (the mixed model's prediction errors).
    """

    block_sd: float = math.nan
    rest_sd: float = math.nan
    freedom: int = 0
    effects: Mapping[int, float] = field(default_factory=dict)
    roots: Mapping[int, Floats] = field(default_factory=dict, compare=False, repr=False)

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
        return replace(self, effects=moved)

    def doubt(self, blocks: Collection[int], reference: Collection[int]) -> float:
        """What not knowing the effects adds to the variance of a mean told as if over the reference's blocks.

        As a multiple of the rest's variance; 0 for the reference itself, and where no block does anything.
        """
        shares: dict[int, float] = defaultdict(float)
        for those, sign in ((blocks, 1.0), (reference, -1.0)):
            for block in sorted(those):
                shares[block] += sign / len(those)
        told = [share * self.roots[block] for block, share in shares.items() if block in self.roots]
        return float((np.sum(told, axis=0) ** 2).sum()) if told and len(reference) else 0.0

    def taken_off(self, scores: ByBlock) -> dict[int, float]:
        """Scores less the effects of their blocks."""
        return {block: score - self.effects.get(block, 0.0) for block, score in scores.items()}


def block_effects(variants: Iterable[ByBlock]) -> BlockEffects:
    """From the scores by block of every variant; those with one block say nothing and are skipped."""
    sums = _BlockSums()
    for scores in variants:
        sums.add(scores)
    return sums.effects()


ONE = 1 << 1074  # every finite float is a whole multiple of its inverse


def _exact(value: float) -> int:
    """A float as a whole number of the smallest floats: such sums depend on no order, and take back exactly."""
    above, below = value.as_integer_ratio()
    return above * (ONE // below)


class _BlockSums:
    """What the variants with several blocks say of the blocks, grown and shrunk one variant at a time."""

    def __init__(self) -> None:
        self._designs: Counter[tuple[int, ...]] = Counter()  # variants by the blocks they are on
        self._sums: Counter[int] = Counter()  # of the deviations on each block, exactly
        self._squares = 0  # of all deviations, exactly
        self._largest = 0.0  # score so far
        self.freedom = 0

    def add(self, scores: ByBlock, sign: int = 1) -> None:
        """One variant's scores come, or go as they came where `sign` is -1."""
        if len(scores) < 2:
            return
        blocks = tuple(sorted(scores))
        values = [scores[block] for block in blocks]
        mean = fmean(values)
        self._designs[blocks] += sign
        if not self._designs[blocks]:
            del self._designs[blocks]
        for block, value in zip(blocks, values, strict=True):
            self._sums[block] += sign * _exact(value - mean)
            self._squares += sign * _exact((value - mean) ** 2)
        self.freedom += sign * (len(blocks) - 1)
        self._largest = max(self._largest, *map(abs, values))

    def copy(self) -> _BlockSums:
        """The same, which stays as it is when this one grows."""
        other = copy(self)
        other._designs, other._sums = self._designs.copy(), self._sums.copy()
        return other

    def pooled(self) -> float:
        """As `pooled_sd` of the blocks of each variant."""
        return math.sqrt(self.squares / self.freedom) if self.freedom else math.nan

    @property
    def squares(self) -> float:
        """The sum of all squares about the variants' means."""
        return self._squares / ONE

    def effects(self) -> BlockEffects:
        """What the blocks do, by all of these variants."""
        blocks = sorted({block for those in self._designs for block in those})
        if not blocks or self.squares <= self.freedom * (ROUNDING * self._largest) ** 2:
            return BlockEffects()
        place = {block: k for k, block in enumerate(blocks)}
        # what is left of the blocks after the variants
        design = np.zeros((len(blocks), len(blocks)))
        for those in sorted(self._designs):  # sums of floats depend on their order
            at, many = [place[block] for block in those], self._designs[those]
            design[at, at] += many
            design[np.ix_(at, at)] -= many / len(at)
        sums = np.array([self._sums[block] / ONE for block in blocks])
        return _solve(blocks, design, sums, self.squares, self.freedom)


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
    roots = dict(zip(blocks, axes[:, real] / np.sqrt(sizes + ratio), strict=True))
    return BlockEffects(block_sd, rest_sd, left, by_block, roots)


def widening(freedom: float) -> float:
    """What an sd of few degrees of freedom is multiplied by, so that 1.96 of it hold the truth 19 times in 20.

    Student's t over the normal's quantile: such an sd is often small by luck.
    """
    return t_quantile(max(freedom, 1)) / NORMAL_ENDS


# -- Means over blocks, grown row by row: a new run costs what it changes. Repeats are averaged within their
# block first; mean and n are over blocks, less what blocks do, as if all had run on the reference's. The sd of
# a mean is s / sqrt(n), s of one run, pooled over all variants on two blocks or more.


class BlockMeans:
    """What the runs of all variants average to in one metric, with what blocks do taken off.

    Estimates are made when asked for and kept until they change.
    """

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._scores: dict[str, dict[int, float]] = {}  # variant -> block -> mean of repeats
        self._repeats: dict[tuple[str, int], list[float]] = {}  # where there are any
        self._sums = _BlockSums()
        self._known: dict[str, Estimate] = {}
        self._effects, self._freedom = BlockEffects(), 0
        self._noise = math.nan
        self._heard: tuple[_BlockSums, dict[int, float]] | None = None  # and not made up for yet
        self._doubts: dict[tuple[int, ...], float] = {}  # by the blocks of a variant
        self._runs: Counter[int] = Counter()  # by block, that say what it does
        self._unheard: Counter[int] = Counter()  # of them, since that was last asked of all
        self.changes = 0  # how often something moved that moves everyone

    def add(self, variant_id: str, block: int, value: float) -> None:
        """Take in one run."""
        scores = self._scores.setdefault(variant_id, {})
        several = len(scores) > 1 or (len(scores) == 1 and block not in scores)
        if several:
            self._sums.add(scores, -1)
        if block in scores:
            runs = self._repeats.setdefault((variant_id, block), [scores[block]])
            runs.append(value)
            value = fmean(runs)
        scores[block] = value
        self._known.pop(variant_id, None)
        if several:
            self._sums.add(scores)
        # what blocks do is read from those with several, and centred on the reference's
        if several or variant_id == self._reference:
            self._runs[block] += 1
            self._unheard[block] += 1
            if self._unheard[block] >= NEWS * self._runs[block]:
                self._hear()

    def drop(self, variant_id: str) -> None:
        """Forget all runs of one variant."""
        scores = self._scores.pop(variant_id, {})
        self._sums.add(scores, -1)
        for block in scores:
            self._repeats.pop((variant_id, block), None)
        self._known.pop(variant_id, None)
        if len(scores) > 1:
            self._hear()

    def _hear(self) -> None:
        """From here on what blocks do is what these runs say, whenever it is asked for."""
        self._unheard.clear()
        self._heard = self._sums.copy(), dict(self._scores.get(self._reference, {}))

    def settle(self) -> int:
        """Make up for what was heard since the last time; the number of changes so far."""
        if self._heard is None:
            return self.changes
        (sums, reference), self._heard = self._heard, None
        effects = sums.effects().centred_on(reference)
        noise = effects.rest_sd if effects.noise_is_known else sums.pooled()
        self._freedom = effects.freedom if effects.noise_is_known else sums.freedom
        self._doubts.clear()
        if effects.effects != self._effects.effects or repr(noise) != repr(self._noise):
            self.changes += 1
            self._known.clear()
        self._effects, self._noise = effects, noise
        return self.changes

    @property
    def noise(self) -> float:
        """The sd of one run less its block's effect; NaN while nobody was on two blocks."""
        self.settle()
        return self._noise

    def __contains__(self, variant_id: str) -> bool:
        return variant_id in self._scores

    def pooled_noise(self) -> float | None:
        """The sd of one run of a variant from block to block; None while no variant has two."""
        sd = self._sums.pooled()
        return None if math.isnan(sd) else sd

    def scatter(self, variant_id: str) -> float:
        """The sum of squares of one variant's blocks about their mean; 0 without a second."""
        self.settle()
        values = list(self._effects.taken_off(self._scores.get(variant_id, {})).values())
        return float(np.var(values) * len(values)) if len(values) > 1 else 0.0

    def estimate(self, variant_id: str) -> Estimate | None:
        """The mean of one variant's blocks; None without a run."""
        self.settle()
        if variant_id not in self._known and variant_id in self._scores:
            values = self._effects.taken_off(self._scores[variant_id]).values()
            sd = self._noise / math.sqrt(len(values))
            self._known[variant_id] = Estimate(fmean(values), sd, len(values))
        return self._known.get(variant_id)

    def estimates(self, variant_ids: Iterable[str]) -> Iterator[tuple[str, Estimate]]:
        """The means of those of these variants that have a run."""
        self.settle()
        for one in variant_ids:
            told = self._known.get(one) or self.estimate(one)
            if told is not None:
                yield one, told

    def widening(self, variant_id: str) -> float:
        """What the sd of a mean, or of a belief that rests on it, is multiplied by where it is shown.

        The search weighs variants by s / sqrt(n) as if s and what blocks do were known: that orders them. As
        an error it is too small while few runs tell either, which this makes up for.
        """
        self.settle()
        scores = self._scores.get(variant_id, {})
        if not scores:
            return 1.0
        blocks = tuple(sorted(scores))
        if blocks not in self._doubts:
            reference = self._scores.get(self._reference, {})
            self._doubts[blocks] = self._effects.doubt(blocks, reference)
        return widening(self._freedom) * math.sqrt(1 + len(blocks) * self._doubts[blocks])
