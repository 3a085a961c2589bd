"""Asking the two serving roles, and what their answers prove.

A sees the hidden rows as they are. B, which never saw them, sees the same beginnings up to a secret cut,
then tokens that differ from the truth everywhere, in another order and other company. Costs before the
cut must agree. First both answer the same harmless rows: what differs there is not in the weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evo.evaluation.data import Hidden
from evo.evaluation.process import Ended, RoleProcess
from evo.evaluation.scoring import EXACT, Floats, NonFinite, Tolerance, audit, nats
from evo.evaluation.wires import REPLY, REQUEST
from population.variant import Status

Tokens = NDArray[np.uint16]
MOST_REPLY_BYTES = 32 << 20  # of one answer, unless one row alone is larger
MOST_ROWS = 64  # of one request


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of requests: rows at once, tokens a row, vocabulary."""

    rows: int
    length: int
    vocab: int

    @property
    def reply_bytes(self) -> int:
        """The float32 logits of one full answer."""
        return self.rows * self.length * self.vocab * 4


def shape_for(context: int, vocab: int) -> Shape:
    """As many rows at once as keep an answer small."""
    rows = MOST_REPLY_BYTES // (context * vocab * 4)
    return Shape(min(max(rows, 1), MOST_ROWS), context, vocab)


class Server:
    """One serving role: tokens in, costs of the true targets out. Raises Ended."""

    def __init__(self, process: RoleProcess, shape: Shape, answer_seconds: float) -> None:
        self.process = process
        self.shape = shape
        self.answer_seconds = answer_seconds
        self.busy_seconds = 0.0
        self.tokens = 0
        self._number = 0

    def start_measuring(self) -> None:
        """Forget what answering took so far: the first answers are slow."""
        self.busy_seconds, self.tokens = 0.0, 0

    def tokens_per_second(self) -> float:
        """Tokens answered per second of waiting for answers."""
        return self.tokens / max(self.busy_seconds, 1e-9)

    def costs(self, inputs: Tokens, targets: Tokens) -> Floats:
        """Nats [rows, length] of the targets, asked in batches in the order given."""
        step = self.shape.rows
        parts = [
            self._ask(inputs[at : at + step], targets[at : at + step])
            for at in range(0, len(inputs), step)
        ]
        return np.concatenate(parts)

    def _ask(self, inputs: Tokens, targets: Tokens) -> Floats:
        rows, length = inputs.shape
        self._number += 1
        request = REQUEST.pack(b"ASK\0", self._number, rows, length)
        began = time.monotonic()
        self.process.send(request + inputs.astype("<u2").tobytes(), self.answer_seconds)
        reply = REPLY.unpack(self.process.receive(REPLY.size, self.answer_seconds))
        self.busy_seconds += time.monotonic() - began
        self.tokens += rows * length
        if reply != (b"ANS\0", self._number, rows, length, self.shape.vocab):
            raise Ended(Status.REJECTED, "an answer had the wrong shape")
        raw = self.process.shared(rows * length * self.shape.vocab * 4)
        logits = np.frombuffer(raw, dtype="<f4").reshape(rows, length, self.shape.vocab)
        try:
            return nats(logits, targets)
        except NonFinite as error:
            raise Ended(Status.DIVERGED, f"{error}, when served") from error


def same_answers(a: Server, b: Server, rows: Tokens, tolerance: Tolerance) -> None:
    """Ended (rejected) unless both give the same costs on rows that hold nothing hidden."""
    cuts = np.full(len(rows), rows.shape[1] - 1, dtype=np.int64)
    answers = [server.costs(rows[:, :-1], rows[:, 1:]) for server in (a, b)]
    found = audit(answers[0], answers[1], cuts, tolerance)
    if found.flagged:
        raise Ended(
            Status.REJECTED,
            "state outside the weights: the saved model, loaded into a fresh process, answers "
            f"differently by {found.largest:.2g} nats",
        )


def sealed_costs(
    a: Server, b: Server, hidden: Hidden, rng: np.random.Generator, tolerance: Tolerance = EXACT
) -> Floats:
    """Costs of the hidden rows by A, in their order; Ended (cheated) when B shows that A peeked."""
    rows, vocab = hidden.tokens, a.shape.vocab
    count, length = len(rows), rows.shape[1] - 1
    cuts = secret_cuts(count, length, rng)
    corrupt = corrupted(rows[:, :-1], cuts, vocab, rng)
    cost_a = _shuffled(lambda order: a.costs(rows[order, :-1], rows[order, 1:]), count, rng)
    cost_b = _shuffled(lambda order: b.costs(corrupt[order], rows[order, 1:]), count, rng)
    found = audit(cost_a, cost_b, cuts, tolerance)
    if found.flagged:
        raise Ended(
            Status.CHEATED,
            f"{found.flagged} of {found.rows} rows were predicted differently when the tokens after "
            "them, or the other rows, changed",
        )
    return cost_a


def secret_cuts(count: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Where each row's truth ends for B, 1 .. length - 1. A position is only checked in rows cut after
    it, so half the cuts are uniform and half crowd the end, log-uniform in their distance from it:
    without them, peeking in the last few positions would be seen in one row of `length`.
    """
    uniform = rng.integers(1, length, count)
    late = length - np.floor(np.exp(rng.uniform(0, np.log(length), count))).astype(np.int64)
    return np.where(rng.random(count) < 0.5, uniform, np.clip(late, 1, length - 1))


def corrupted(
    inputs: Tokens, cuts: NDArray[np.int64], vocab: int, rng: np.random.Generator
) -> Tokens:
    """The rows with every token from the cut on replaced by another one, at random."""
    shift = rng.integers(1, vocab, inputs.shape) if vocab > 1 else np.zeros(inputs.shape, np.int64)
    other = (inputs.astype(np.int64) + shift) % vocab
    kept = np.arange(inputs.shape[1]) < cuts[:, None]
    return np.where(kept, inputs, other).astype(np.uint16)


def probe_rows(text: Tokens, shape: Shape, rng: np.random.Generator) -> Tokens:
    """Up to eight rows [n, length + 1] that hold nothing hidden: training text and random tokens."""
    count, width = min(shape.rows, 8), shape.length + 1
    rows = rng.integers(0, shape.vocab, (count, width)).astype(np.uint16)
    for row in rows[::2]:
        at = int(rng.integers(0, max(len(text) - width, 0) + 1))
        piece = text[at : at + width]
        row[: len(piece)] = piece
    return rows


def _shuffled(
    ask: Callable[[NDArray[np.int64]], Floats], count: int, rng: np.random.Generator
) -> Floats:
    order = rng.permutation(count)
    answers = ask(order)
    back = np.empty_like(answers)
    back[order] = answers
    return back
