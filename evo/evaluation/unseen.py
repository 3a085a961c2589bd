"""Hidden rows that earlier runs of a campaign were not asked: which ones, and what they say of the others.

The rows of the fixed sample are asked again and again. A model that learned something of them, in whatever way,
predicts them better than rows of the same documents that were never asked. Which rows a run gets depends on its
request alone, so that there is nothing to remember: a reserve is laid out once, and searching runs take a few
rows of its last quarter by a hash, while runs that are compared in pairs take a stretch of the rest by block. A
small text is divided into smaller stretches, so that it lasts for more blocks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.evaluation.data import Dataset, Floats, Hidden, Split
from evo.evaluation.process import Ended
from population.types import PAIRED, RunRequest, Status

MIN_ROWS = 16  # fewer say nothing; as many are asked of a run that searches
SPOT_SHARE = 0.25  # of the reserve, for runs that search
MIN_BLOCKS = 64  # that rows nobody was asked before are to last for
MIN_SHARE = 4  # of as many rows as the fixed sample, a block is asked one in MIN_SHARE at least
FAR_SDS = 8.0  # from the median: a row beyond is counted as if it lay there
MAX_SDS = 7.0  # that the fixed sample may be predicted better by, in standard errors


@dataclass(frozen=True, slots=True)
class Unseen:
    """Some rows for one run. `again`: the reserve was too small, earlier blocks were asked them too."""

    hidden: Hidden
    again: bool


class Reserve:
    """What a split holds beside the fixed sample of a rung; `level`: the rung's place, 0 for the proxy.

    `blocks`, here and below: how many its rows for pairs are to last for, 0 asks none.
    """

    def __init__(self, dataset: Dataset, split: Split, context: int, rows: int, level: int) -> None:
        self._dataset, self._split, self._context, self._level = dataset, split, context, level
        self._chunks = dataset.reserve(split, context, rows)
        self._spots = _spots(len(self._chunks)) if split == "val" else 0
        self._sample = rows

    def blocks_held(self, blocks: int = MIN_BLOCKS) -> int:
        """How many blocks can be asked rows of their own."""
        return divide(len(self._chunks) - self._spots, self._sample, blocks)[0]

    def of(self, request: RunRequest, blocks: int = MIN_BLOCKS) -> Unseen | None:
        """The rows of this run; None where the text holds too few."""
        if request.purpose in PAIRED:
            return self._by_block(request.block, blocks)
        return self._by_hash(request)

    def _by_block(self, block: int, blocks: int) -> Unseen | None:
        """The same for everyone on this block: the proxy's from the front, upper rungs' from behind."""
        held, rows = divide(len(self._chunks) - self._spots, self._sample, blocks)
        if not held:
            return None
        place = block if self._level == 0 else held - self._level - block
        return self._unseen(place % held * rows, rows, not 0 <= place < held)

    def _by_hash(self, request: RunRequest) -> Unseen | None:
        """A few of its own. Two runs may share some: the more, the smaller the reserve."""
        if self._spots < MIN_ROWS:
            return None
        key = f"{request.variant_id} {request.rung} {request.block} {request.repeat}".encode()
        place = int.from_bytes(hashlib.sha256(key).digest()[:8]) % (self._spots - MIN_ROWS + 1)
        return self._unseen(len(self._chunks) - self._spots + place, MIN_ROWS, False)

    def _unseen(self, first: int, many: int, again: bool) -> Unseen:
        chunks = self._chunks[first : first + many]
        return Unseen(self._dataset.rows(self._split, self._context, chunks), again)


def _spots(chunks: int) -> int:
    """How many of the reserve's chunks searching runs are asked."""
    return int(SPOT_SHARE * chunks)


def divide(chunks: int, sample: int, blocks: int) -> tuple[int, int]:
    """How many blocks these chunks last for, and how many rows each is asked: (0, 0) where they are too few.

    As many rows as the fixed sample where the text is large, fewer where it would not last for `blocks`.
    """
    wanted = max(sample // MIN_SHARE, chunks // max(blocks, 1), MIN_ROWS)
    rows = min(sample, wanted, chunks)
    return (chunks // rows, rows) if rows >= MIN_ROWS else (0, 0)


def blocks_held(chunks: int, sample: int, blocks: int = MIN_BLOCKS) -> int:
    """How many blocks the `chunks` of a validation split last for, each on rows of its own."""
    reserve = max(chunks - sample, 0)
    return divide(reserve - _spots(reserve), sample, blocks)[0]


def must_know_all_rows_alike(
    fixed: Floats,
    unseen: Floats,
    of_fixed: Sequence[str],
    of_unseen: Sequence[str],
    facts: dict[str, str],
) -> None:
    """Ended (cheated) where the fixed sample was predicted better than others; a fact says the gap."""
    gap, sds = gap_in_sds(fixed, unseen, of_fixed, of_unseen)
    facts["unseen_gap"] = f"{gap:.4f} nats a token, {sds:.1f} standard errors"
    if sds > MAX_SDS:
        raise Ended(
            Status.CHEATED,
            f"it knows the rows that runs are always asked: {gap:.3f} nats a token better than at "
            f"rows never asked before, {sds:.0f} standard errors",
        )


def gap_in_sds(
    asked: Floats, unseen: Floats, of_asked: Sequence[str], of_unseen: Sequence[str]
) -> tuple[float, float]:
    """How much better the asked rows are predicted, in nats a token, and in standard errors.

    Costs are [rows, length], with the document of each row. Compared within documents, by least squares: a
    short document gives asked rows only, so the samples are not of the same mixture. Rows far out are drawn in
    first: among a few unseen rows a single one, say of a table in plain text, must not decide, nor make the
    standard error so large that nothing is seen.
    """
    costs = np.concatenate([asked.mean(axis=1), unseen.mean(axis=1)])
    fresh = np.arange(len(costs)) >= len(asked)
    names, of = np.unique([*of_asked, *of_unseen], return_inverse=True)
    old, new = (np.bincount(of[which], minlength=len(names)) for which in (~fresh, fresh))
    weights = old * new / (old + new)
    freedom = len(costs) - len(names) - 1
    if min(len(asked), len(unseen)) < MIN_ROWS or freedom < MIN_ROWS - 1 or not weights.any():
        return float(costs[fresh].mean() - costs[~fresh].mean()), 0.0
    costs = _drawn_in(costs, of, weights > 0)
    sums = (np.bincount(of[one], costs[one], minlength=len(names)) for one in (~fresh, fresh))
    low, high = (total / np.maximum(many, 1) for total, many in zip(sums, (old, new), strict=True))
    gap = float((weights * (high - low)).sum() / weights.sum())
    level = costs - gap * fresh
    level -= (np.bincount(of, level) / (old + new))[of]
    error = math.sqrt(float((level**2).sum()) / freedom / weights.sum())
    return gap, gap / error if error > 0 else 0.0


def _drawn_in(costs: Floats, of: NDArray[np.intp], shared: NDArray[np.bool_]) -> Floats:
    """Costs beside their document's median, at most FAR_SDS of them all; as they are where most are equal.

    `of`: the document of each row; `shared`: those that both samples hold, for they say what is far.
    """
    beside = costs.copy()
    for document in np.flatnonzero(shared):
        beside[of == document] -= np.median(costs[of == document])
    far = FAR_SDS * 1.4826 * np.median(np.abs(beside[shared[of]]))
    return np.where(shared[of], np.clip(beside, -far, far), beside) if far > 0 else beside


def no_rows(split: str) -> str:
    """The fact of a run that could be asked nothing new."""
    return f"none: the {split} documents hold too little text beside the rows that are always asked"
