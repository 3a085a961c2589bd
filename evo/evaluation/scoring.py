"""What logits are worth: our own log-softmax, bits per byte, and the comparison of two servers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.evaluation.data import Hidden
from population.variant import DocumentScore

Floats = NDArray[np.float64]


class NonFinite(ValueError):
    """Logits that are not numbers, or give a target no probability."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two honest servers may differ, in nats.

    `largest` anywhere, and `mean` on the average: a peek that stays below `largest` would lower every
    cost by as much. With `largest` None (reduced precision) the 99.9th percentile stands in for it, and
    the mean at the last position before the cut may be ten times the mean elsewhere.
    """

    largest: float | None = 1e-3
    mean: float = 5e-5
    tail: float = 0.1


EXACT = Tolerance()  # CPU, fp32
REDUCED = Tolerance(largest=None, mean=2e-3)  # bf16; by judgement, not calibrated on a GPU yet


@dataclass(frozen=True, slots=True)
class Audit:
    """What comparing two servers showed: rows that differ, and the largest difference in nats."""

    rows: int
    flagged: int
    largest: float


def nats(logits: NDArray[np.float32], targets: NDArray[np.uint16]) -> Floats:
    """-log p(target), float64 [rows, length], of logits [rows, length, vocab].

    Raises NonFinite. Exponentials in float32, sums in float64.
    """
    if not np.isfinite(logits).all():
        raise NonFinite("the logits are not finite")
    top = logits.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # a spread beyond float32 is an infinite cost, reported below
        spread = logits - top
        total = np.log(np.exp(spread).sum(axis=-1, dtype=np.float64))
        chosen = np.take_along_axis(spread, targets[..., None].astype(np.int64), axis=-1)[..., 0]
    cost: Floats = total - chosen
    if not np.isfinite(cost).all():
        raise NonFinite("the logits overflow")
    return cost


def audit(
    nats_a: Floats, nats_b: Floats, cuts: NDArray[np.int64], tolerance: Tolerance = EXACT
) -> Audit:
    """Compare costs [rows, length] before each row's cut: what follows must not have mattered.

    Position t predicts token t + 1 from tokens 0..t; tokens from the cut on were replaced for B.
    """
    before = np.arange(nats_a.shape[1]) < cuts[:, None]
    signed = nats_b - nats_a
    apart = np.where(before, np.abs(signed), 0.0)
    largest = float(apart.max(initial=0.0))
    edge = signed[np.arange(len(cuts)), cuts - 1]
    if tolerance.largest is not None:
        flagged = int((apart.max(axis=1) > tolerance.largest).sum())
        if max(abs(float(signed[before].mean())), abs(float(edge.mean()))) > tolerance.mean:
            flagged = max(flagged, int((np.abs(edge) > tolerance.mean).sum()), 1)
        return Audit(len(cuts), flagged, largest)
    beyond = (
        abs(float(signed[before].mean())) > tolerance.mean
        or abs(float(edge.mean())) > 10 * tolerance.mean
        or float(np.quantile(apart[before], 0.999)) > tolerance.tail
    )
    flagged = int((np.abs(edge) > tolerance.tail).sum()) or 1
    return Audit(len(cuts), flagged if beyond else 0, largest)


def bits_by_document(cost: Floats, hidden: Hidden) -> tuple[DocumentScore, ...]:
    """Bits and scored bytes per document, in the order of the split, from nats [rows, length]."""
    bits: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for name, row, size in zip(hidden.documents, cost.sum(axis=1), hidden.bytes, strict=True):
        bits[name] = bits.get(name, 0.0) + float(row) / math.log(2)
        sizes[name] = sizes.get(name, 0) + int(size)
    return tuple(DocumentScore(name, bits[name], sizes[name]) for name in bits)


def bits_per_byte(documents: tuple[DocumentScore, ...]) -> float:
    """All bits over all scored bytes."""
    return sum(d.bits for d in documents) / sum(d.bytes for d in documents)
