"""Two-level factorial designs in mirror pairs, and what edits do, by least squares over every run.

A mirror pair is a set of edits and its complement on one block: the champion and the seed are one, and so are
the champion without an edit and the seed with it alone. In a difference of such a pair the block and every
interaction of two edits cancel, so that a design of mirror pairs is of resolution IV at least (Box and Wilson
1951, the fold-over): what an edit does is never mixed up with what two others do together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from population.statistics.distributions import CONFIDENCE, t_quantile
from population.statistics.intervals import Interval

Floats = npt.NDArray[np.float64]
Present = frozenset[int]  # the numbers of the edits that a run's source holds

MAX_INTERACTIONS = 3  # that the model takes in, the strongest first
MIN_OWN_SHARE = 0.05  # of an interaction's column that nothing else explains, or it is confounded


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One run of a set of edits. `cost`: lower is better, in the objective's unit; None where it failed."""

    block: int
    present: Present
    cost: float | None


@dataclass(frozen=True, slots=True)
class FactorialEffect:
    """What edits gain in the champion, above 0 is better; of two: beyond what both do alone.

    The interval is NaN where too few runs are left to tell the noise; `n`: runs that it rests on.
    """

    edits: tuple[int, ...]
    gain: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class FactorialFit:
    """What the runs say. `run_sd`: of one run beside its block's and its edits' effects, `freedom` of it.

    `pairs`: interactions that can be told, the strongest first; `taken_in`: those beyond chance (Bonferroni
    over all that were looked at), which the edits' own effects allow for. `confounded`: groups of pairs of
    edits that these runs cannot tell from one another; `hidden`: pairs mixed up with blocks and edits.
    """

    effects: Mapping[int, FactorialEffect]
    pairs: tuple[FactorialEffect, ...]
    taken_in: tuple[tuple[int, int], ...]
    run_sd: float
    freedom: int
    confounded: tuple[tuple[tuple[int, int], ...], ...] = ()
    hidden: tuple[tuple[int, int], ...] = ()
    _terms: tuple[tuple[int, ...], ...] = ()
    _beta: Floats = field(default_factory=lambda: np.zeros(0))
    _covariance: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def loss_without(self, left_out: Collection[int]) -> Interval:
        """What the champion is expected to lose without these edits, with the interactions taken in."""
        chosen = np.array(
            [
                (1.0 if len(edits) == 1 else -1.0) * (set(edits) <= set(left_out))
                for edits in self._terms
            ]
        )
        if not chosen.any():
            return Interval(0.0, 0.0, 0.0)
        loss = float(chosen @ self._beta)
        variance = max(float(chosen @ self._covariance @ chosen), 0.0)
        half = t_quantile(self.freedom) * math.sqrt(variance) if self.freedom > 0 else math.inf
        return Interval(loss, loss - half, loss + half)


def fit(runs: Sequence[ArmRun], edits: Collection[int]) -> FactorialFit:
    """Least squares: a level a block, an effect an edit, and the interactions that are beyond chance."""
    told = [one for one in runs if one.cost is not None]
    numbers = sorted(edits)
    pairs = list(itertools.combinations(numbers, 2))
    gains = np.array([-one.cost for one in told if one.cost is not None])
    blocks = sorted({one.block for one in told})
    levels = np.array([[float(one.block == block) for block in blocks] for one in told])
    # 0 in the champion, -1 where the edit is missing: an effect is what the champion would lose
    columns = {
        (edit,): np.array([float(edit in one.present) - 1 for one in told]) for edit in numbers
    }
    mixed = {pair: columns[pair[:1]] * columns[pair[1:]] for pair in pairs}
    base = np.column_stack([levels.reshape(len(told), len(blocks)), *columns.values()])
    own, confounded, hidden = _told_apart(base, mixed)
    taken, found = list[tuple[int, int]](), list[FactorialEffect]()
    while True:
        names: list[tuple[int, ...]] = [*columns, *taken]
        design = np.column_stack([base, *(mixed[one] for one in taken)])
        solved = _solve(design, gains)
        left = _interactions(design, mixed, solved, [one for one in own if one not in taken])
        if not taken:
            found = left
        beyond = _beyond_chance(left, solved, len(own))
        if beyond is None or len(taken) == MAX_INTERACTIONS:
            break
        taken.append(beyond)
    first = len(blocks)
    effects = {}
    for at, edit in enumerate(numbers):
        gain, error = float(solved.beta[first + at]), float(solved.errors[first + at])
        many = sum(edit not in one.present for one in told)
        effects[edit] = _effect((edit,), gain, error, solved.freedom, min(many, len(told) - many))
    return FactorialFit(
        effects,
        tuple(sorted(found, key=lambda one: -abs(one.gain))),
        tuple(taken),
        solved.sd,
        solved.freedom,
        confounded,
        hidden,
        tuple(names),
        solved.beta[first:],
        solved.covariance[first:, first:],
    )


@dataclass(frozen=True, slots=True)
class _Solved:
    beta: Floats
    errors: Floats  # standard errors, NaN where a column cannot be told
    residuals: Floats
    covariance: Floats
    sd: float
    freedom: int


def _solve(design: Floats, gains: Floats) -> _Solved:
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    beta = inverse @ design.T @ gains
    residuals = gains - design @ beta
    freedom = len(gains) - int(np.linalg.matrix_rank(design))
    sd = math.sqrt(float(residuals @ residuals) / freedom) if freedom > 0 else math.nan
    known = np.diag(inverse @ design.T @ design) > 1 - 1e-6  # else only a sum with others is
    errors = np.where(known, sd * np.sqrt(np.clip(np.diag(inverse), 0, None)), np.nan)
    return _Solved(beta, errors, residuals, np.asarray(sd**2 * inverse), sd, freedom)


def _effect(
    edits: tuple[int, ...], gain: float, error: float, freedom: int, many: int
) -> FactorialEffect:
    half = t_quantile(freedom) * error if freedom > 0 else math.nan
    return FactorialEffect(edits, gain, gain - half, gain + half, many)


def _told_apart(
    base: Floats, mixed: Mapping[tuple[int, int], Floats]
) -> tuple[
    list[tuple[int, int]], tuple[tuple[tuple[int, int], ...], ...], tuple[tuple[int, int], ...]
]:
    """The pairs of edits with a column of their own (one of each group), the groups, and the others."""
    own, hidden = dict[tuple[int, int], Floats](), list[tuple[int, int]]()
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    if not len(base):
        return [], (), tuple(mixed)
    axes, sizes, _ = np.linalg.svd(base, full_matrices=False)
    axes = axes[:, sizes > 1e-9 * sizes[0]]
    for pair, column in mixed.items():
        rest = column - axes @ (axes.T @ column)
        length = float(np.linalg.norm(rest))
        centred = float(np.linalg.norm(column - column.mean()))
        if not centred or length < MIN_OWN_SHARE * centred:
            hidden.append(pair)
            continue
        rest = rest / length
        twin = next((one for one, other in own.items() if abs(float(rest @ other)) > 0.999), None)
        if twin is None:
            own[pair] = rest
        groups.setdefault(twin or pair, []).append(pair)
    several = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    return list(own), several, tuple(hidden)


def _interactions(
    design: Floats,
    mixed: Mapping[tuple[int, int], Floats],
    solved: _Solved,
    pairs: Sequence[tuple[int, int]],
) -> list[FactorialEffect]:
    """What each of these pairs would add, were it the only one taken in next."""
    if solved.freedom < 2 or not pairs:
        return []
    axes, sizes, _ = np.linalg.svd(design, full_matrices=False)
    axes = axes[:, sizes > 1e-9 * sizes[0]]
    total, found = float(solved.residuals @ solved.residuals), list[FactorialEffect]()
    for pair in pairs:
        rest = mixed[pair] - axes @ (axes.T @ mixed[pair])
        square = float(rest @ rest)
        if square < 1e-9:
            continue
        gain = float(rest @ solved.residuals) / square
        sd = math.sqrt(max(total - gain**2 * square, 0.0) / (solved.freedom - 1))
        error = sd / math.sqrt(square)
        found.append(_effect(pair, gain, error, solved.freedom - 1, len(mixed[pair])))
    return found


def _beyond_chance(
    left: Sequence[FactorialEffect], solved: _Solved, looked_at: int
) -> tuple[int, int] | None:
    """The strongest interaction, where its interval over all that were looked at leaves out 0."""
    if solved.freedom < 3:
        return None
    usual = t_quantile(solved.freedom - 1)
    strict = t_quantile(solved.freedom - 1, 1 - (1 - CONFIDENCE) / max(looked_at, 1))

    def size(one: FactorialEffect) -> float:
        error = (one.high - one.low) / 2 / usual
        return abs(one.gain) / error if error > 0 else math.inf

    best = max(left, key=size, default=None)
    if best is None or not best.gain or size(best) <= strict:
        return None
    return best.edits[0], best.edits[1]


# -- Designs.


@dataclass(frozen=True, slots=True)
class FactorialDesign:
    """Mirror pairs over some edits: `words` give the columns, `resolution` is 0 where nothing is confounded."""

    edits: tuple[int, ...]
    pairs: tuple[Present, ...]  # of each pair the first; the second is what it leaves out
    resolution: int

    @property
    def in_words(self) -> str:
        """As a statistician would write it: "2^(8-3), resolution IV"."""
        many, size = len(self.edits), len(self.pairs).bit_length()
        if self.resolution == 0:
            return f"full factorial 2^{many}"
        roman = {4: "IV", 6: "VI"}.get(self.resolution, str(self.resolution))
        return f"2^({many}-{many - size}), resolution {roman}"


def mirror_design(edits: Sequence[int], most_pairs: int) -> FactorialDesign | None:
    """The design of highest resolution in at most `most_pairs` mirror pairs; None where they are too few.

    For two edits or more. The pairs are a power of two, and no fewer than the edits.
    """
    many = len(edits)
    if many < 2:
        return None
    size = 1 << min(most_pairs.bit_length() - 1, many - 1) if most_pairs else 0
    if size < many and size < 1 << (many - 1):
        return None
    words = _words(many, size)
    rows = []
    for row in range(size):
        rows.append(
            frozenset(
                edit
                for edit, word in zip(edits, words, strict=True)
                if (row & word).bit_count() % 2 == 0
            )
        )
    return FactorialDesign(tuple(edits), tuple(rows), _resolution(words, size))


def _words(many: int, size: int) -> list[int]:
    """Distinct words of columns, so that as few pairs of them as can be add up to the same."""
    chosen, sums = list[int](), dict[int, int]()
    for _ in range(many):
        free = [one for one in range(size) if one not in chosen]
        word = min(
            free, key=lambda one: (sum(sums.get(one ^ other, 0) for other in chosen), _order(one))
        )
        for other in chosen:
            sums[word ^ other] = sums.get(word ^ other, 0) + 1
        chosen.append(word)
    return chosen


def _order(word: int) -> tuple[int, int]:
    """No letter and single letters first, then the longest words."""
    letters = word.bit_count()
    return (0, word) if letters < 2 else (1, -letters * 1000 + word)


def _resolution(words: Sequence[int], size: int) -> int:
    """The shortest even set of columns whose product is constant; 0 where there is none."""
    if size == 1 << (len(words) - 1):
        return 0
    for length in (4, 6, 8):
        for some in itertools.combinations(words, length):
            total = 0
            for one in some:
                total ^= one
            if total == 0:
                return length
    return 10
