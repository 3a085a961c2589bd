"""What logits are worth: our own log-softmax, bits per byte, and the comparison of two servers."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evo.evaluation.channels import REPLY, REQUEST, UNCAUGHT
from evo.evaluation.data import Floats, Hidden, Tokens, corrupted, secret_cuts
from evo.evaluation.process import Ended, RoleProcess
from population.types import Clock, Rung, Status


class NonFinite(ValueError):
    """Logits that are not numbers, or give a target no probability."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two honest servers may differ, in nats.

    `largest` anywhere; `mean` on the average and `edge` on the average of the last positions before the
    cuts, which bound what a peek can gain. With `largest` None (reduced precision) 99.9 % of positions have
    to stay within `tail`: how rounding scatters, which gains nobody anything.
    """

    largest: float | None = 1e-3
    mean: float = 5e-5
    edge: float = 5e-5
    tail: float = 0.1

    def in_words(self) -> str:
        """What `tolerance_in` reads."""
        most = "" if self.largest is None else f"largest {self.largest:g}, "
        return f"{most}mean {self.mean:g}, edge {self.edge:g}, tail {self.tail:g}"


MAX_REPLY_BYTES = 32 << 20  # of one answer, unless one row alone is larger
SLAB_LOGITS = 1 << 18  # that are looked at together
EXACT = Tolerance()  # CPU, fp32
ROUGH = Tolerance(
    largest=1e-2, mean=1e-2, edge=1e-2
)  # CPU, weights that nothing trained: what leaks, leaks more
REDUCED = Tolerance(largest=None, mean=2e-3, edge=2e-2)  # bf16, until the seed was measured
WIDEST = Tolerance(largest=None, mean=2e-3, edge=2e-2, tail=0.5)  # that a seed can make it
TIMES = 10.0  # how far the seed's servers were is allowed to everyone
QUANTISED = Tolerance(
    largest=None, mean=2e-2, edge=0.2, tail=1.0
)  # what scales that a batch shares may do: it gives no score, only other words


@dataclass(frozen=True, slots=True)
class Audit:
    """What comparing two servers showed: rows that differ, and by how many nats.

    `tail`: 99.9 % of positions differ by less. `mean` has a sign: B's cost minus A's; `edge` is the mean at
    the last positions before the cuts. The errors are standard ones, of rows.
    """

    rows: int
    flagged: int
    largest: float
    tail: float
    mean: float
    edge: float = 0.0
    mean_error: float = 0.0
    edge_error: float = 0.0

    def in_words(self, allowed: Tolerance) -> str:
        """How far they were apart, and how far they may be."""
        most = (
            f"99.9 % {allowed.tail:g}"
            if allowed.largest is None
            else f"largest {allowed.largest:g}"
        )
        return (
            f"mean {self.mean:+.1g}, 99.9 % within {self.tail:.1g}, largest {self.largest:.1g} nats "
            f"(allowed: mean {allowed.mean:g}, {most})"
        )


def nats(logits: NDArray[np.float32], targets: Tokens) -> Floats:
    """-log p(target), float64 [rows, length], of logits [rows, length, vocab].

    Raises NonFinite. Exponentials in float32, sums in float64.
    """
    rows = logits.reshape(-1, logits.shape[-1])
    cost = nats_in_slabs(lambda at, many: rows[at : at + many], targets.reshape(-1), rows.shape[1])
    return cost.reshape(targets.shape)


def nats_in_slabs(
    read: Callable[[int, int], NDArray[np.float32]], targets: Tokens, vocab: int, threads: int = 1
) -> Floats:
    """-log p(target) of each position, its logits read a slab of positions at a time. Raises NonFinite.

    `read(at, many)` gives the logits [many, vocab] from a position on. Beside one slab a thread nothing is
    held, and what is worked on stays in the processor's cache.
    """
    many = max(SLAB_LOGITS // vocab, 1)
    threads = max(min(threads, -(-len(targets) // many)), 1)
    wanted, cost, places = targets.astype(np.int64), np.empty(len(targets)), np.arange(many)

    def look(first: int) -> None:
        """One slab in `threads`, from this position on; numpy lets the other threads run meanwhile."""
        room = np.empty((min(many, len(targets)), vocab), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is an infinite cost
            for at in range(first, len(targets), many * threads):
                logits = read(at, min(many, len(targets) - at))
                top, spread = logits.max(axis=-1, keepdims=True), room[: len(logits)]
                if not (np.isfinite(top).all() and np.isfinite(logits.min())):
                    raise NonFinite("the logits are not finite")
                np.subtract(logits, top, out=spread)
                chosen = spread[places[: len(spread)], wanted[at : at + many]]
                total = np.exp(spread, out=spread).sum(axis=-1, dtype=np.float64)
                cost[at : at + many] = np.log(total) - chosen

    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(look, range(0, many * threads, many)))
    else:
        look(0)
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
    edges = signed[np.arange(len(cuts)), cuts - 1]
    mean, edge = float(signed[before].mean()), float(edges.mean())
    off = np.where(before, signed - mean, 0.0).sum(axis=1)
    found = Audit(
        rows=len(cuts),
        flagged=0,
        largest=float(apart.max(initial=0.0)),
        tail=float(np.quantile(apart[before], 0.999)),
        mean=mean,
        edge=edge,
        mean_error=float(np.sqrt(np.square(off).sum()) / before.sum()),
        edge_error=float(edges.std() / math.sqrt(len(edges))),
    )
    leans = abs(mean) > tolerance.mean or abs(edge) > tolerance.edge
    if tolerance.largest is not None:
        flagged = int((apart.max(axis=1) > tolerance.largest).sum())
        if leans:
            flagged = max(flagged, int((np.abs(edges) > tolerance.edge).sum()), 1)
    elif leans or found.tail > tolerance.tail:
        flagged = int((np.abs(edges) > tolerance.tail).sum()) or 1
    else:
        flagged = 0
    return replace(found, flagged=flagged)


def calibrated(floor: Tolerance, seen: Sequence[Audit]) -> Tolerance:
    """What everyone is allowed once the two servers of the seed were compared: never less than `floor`.

    TIMES what the seed shows, an average with its standard error, rounded up to one digit, at most WIDEST.
    """
    exact = floor.largest is not None
    if exact and all(
        one.largest <= (floor.largest or 0.0)
        and abs(one.mean) <= floor.mean
        and abs(one.edge) <= floor.edge
        for one in seen
    ):
        return floor

    def wide(least: float, shown: Iterable[float], most: float) -> float:
        return min(max(least, _rounded_up(TIMES * max(shown, default=0.0))), most)

    return Tolerance(
        None,
        wide(floor.mean, (abs(one.mean) + one.mean_error for one in seen), WIDEST.mean),
        wide(floor.edge, (abs(one.edge) + one.edge_error for one in seen), WIDEST.edge),
        wide(floor.largest or floor.tail, (one.tail for one in seen), WIDEST.tail),
    )


def _rounded_up(value: float) -> float:
    """To one digit."""
    if not value > 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.1g}")


def tolerance_in(words: str) -> Tolerance | None:
    """The tolerance in such words, never beyond WIDEST or, where largest is said, EXACT; None for others."""
    try:
        said = {name: float(value) for name, value in (one.split() for one in words.split(", "))}
        most = EXACT if "largest" in said else WIDEST
        if said.keys() - {"largest"} != {"mean", "edge", "tail"} or not all(
            value >= 0 for value in said.values()
        ):
            return None
        return Tolerance(
            None if most.largest is None else min(said["largest"], most.largest),
            *(min(said[name], getattr(most, name)) for name in ("mean", "edge", "tail")),
        )
    except ValueError:
        return None


# -- Asking the two serving roles, and what their answers prove.
# A sees the hidden rows as they are. B, which never saw them, sees the same beginnings up to a secret cut,
# then tokens that differ from the truth everywhere, in another order and other company. Costs before the
# cut must agree. Last it sees the rows whole: no cut ever hides their end. First both answer the same
# harmless rows: what differs there is not in the weights. Then they rehearse a request of full size.


UNEVEN = 1.5  # times the usual: what starting or an answer may take
WHOLE = 4  # one row in WHOLE is shown whole, a full request at least: it is about one position
SPARE_SECONDS, SPARE_SHARE = 0.5, 0.05  # beside that, the share is of the budget
CROWDED_SHARE = 0.5  # by so much more CPU time work may take where others hold the cores
MAX_ROWS = 64  # of one request
MAX_FETCHED_BYTES = 32 << 10  # from disk by the first server, once it knows hidden text


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
    rows = MAX_REPLY_BYTES // (context * vocab * 4)
    return Shape(min(max(rows, 1), MAX_ROWS), context, vocab)


class Server:
    """One serving role: tokens in, costs of the true targets out. Raises Ended."""

    def __init__(
        self, process: RoleProcess, shape: Shape, answer_seconds: float, threads: int = 1
    ) -> None:
        self.process = process
        self.threads = threads  # that work out costs, while the server waits
        self.shape = shape
        self.answer_seconds = answer_seconds
        self.busy_seconds = 0.0
        self.tokens = 0
        self.ready_seconds = self._used = process.used_seconds()  # by the clock of its rung
        self.ready_held_up_seconds = process.held_up_seconds()  # by others, on its way there
        self.beside_seconds = 0.0  # used while nothing was asked
        self.answered: list[tuple[int, float]] = []  # rows and seconds of each request
        self.harmless = 0  # how many of them, the first ones, held nothing hidden
        self._number = 0

    def knows_hidden_text(self) -> None:
        """From here on nothing it says is kept; its speed counts, as the first answers were slow."""
        self.process.close_log()
        self.busy_seconds, self.tokens = 0.0, 0
        self.harmless = len(self.answered)

    def unexplained_seconds(self) -> float:
        """What it used since it was ready beyond what its answers take: all the same time a row, or half more.

        Training at the first question, beside the questions, or anew at each shows here; a slow model does
        not. The few harmless rows count whole: a server that dawdles at all others could train there.
        """
        most = max(rows for rows, _ in self.answered)
        usual = statistics.median(used / rows for rows, used in self.answered if 2 * rows >= most)
        beyond = (
            used - (UNEVEN * usual * rows if number >= self.harmless else 0.0)
            for number, (rows, used) in enumerate(self.answered)
        )
        return self.beside_seconds + sum(max(one, 0.0) for one in beyond)

    def in_words(self) -> str:
        """What it used by the clock of its rung."""
        answers = sum(used for _, used in self.answered)
        return (
            f"{self.ready_seconds:.2f} s to start, {answers:.2f} s to answer, of it "
            f"{self.unexplained_seconds():.2f} s that answers do not explain"
        )

    def tokens_per_second(self) -> float:
        """Tokens answered per second of waiting for answers; on a CPU clock, of the server's own CPU time."""
        return self.tokens / max(self.busy_seconds, 1e-9)

    def costs(self, inputs: Tokens, targets: Tokens, most: int = MAX_ROWS) -> Floats:
        """Nats [rows, length] of the targets, asked in batches of at most `most` in the order given."""
        step = min(self.shape.rows, most)
        parts = [
            self._ask(inputs[at : at + step], targets[at : at + step])
            for at in range(0, len(inputs), step)
        ]
        return np.concatenate(parts)

    def _ask(self, inputs: Tokens, targets: Tokens) -> Floats:
        rows, length = inputs.shape
        self._number += 1
        request = REQUEST.pack(b"ASK\0", self._number, rows, length)
        began, before = time.monotonic(), self.process.used_seconds()
        wide = "<u2" if self.shape.vocab <= 65_536 else "<u4"
        self.process.send(request + inputs.astype(wide).tobytes(), self.answer_seconds)
        reply = REPLY.unpack(self.process.receive(REPLY.size, self.answer_seconds))
        waited = time.monotonic() - began
        self.tokens += rows * length
        on_cpu_clock = self.process.limits.clock is Clock.CPU_SECONDS
        if on_cpu_clock:  # the wall's goes on while we count
            self.beside_seconds += before - self._used
        self._used = self.process.used_seconds()
        self.busy_seconds += self._used - before if on_cpu_clock else waited
        self.answered.append((rows, self._used - before))
        if reply != (b"ANS\0", self._number, rows, length, self.shape.vocab):
            raise Ended(Status.REJECTED, "an answer had the wrong shape")
        vocab = self.shape.vocab

        def read(at: int, many: int) -> NDArray[np.float32]:
            raw = self.process.shared(many * vocab * 4, at * vocab * 4)
            return np.frombuffer(raw, dtype="<f4").reshape(many, vocab)

        try:
            flat = nats_in_slabs(read, targets.reshape(-1), vocab, self.threads)
            return flat.reshape(targets.shape)
        except NonFinite as error:
            raise Ended(Status.DIVERGED, f"{error}, when served") from error


@dataclass(frozen=True, slots=True)
class Exam:
    """What both servers are asked: rows that hold nothing hidden, then the hidden splits.

    `rehearsal`: for A, of the size of the largest request on hidden text. What has not the memory or the time
    for it ends there, where an end says nothing. B is not asked it: many rows explain much work, and what
    nobody compares may be training. `looks`: how often B is shown each hidden row, always a little
    more of it, before it is shown it whole. `quantises`: the source says so, as anyone may.
    """

    probe: Tokens
    rehearsal: Tokens
    splits: tuple[Hidden, ...]
    looks: int
    tolerance: Tolerance = EXACT
    quantises: bool = False


class Fetched(Ended):
    """A server read files from disk while it knew hidden text."""

    def __init__(self, fetched: int) -> None:
        reason = f"its server fetched {fetched >> 10} KB from disk among the answers"
        super().__init__(Status.CHEATED, reason)


class ServerWork(Ended):
    """A server did more than load and answer."""

    def __init__(self, what: str, used: float, allowed: float) -> None:
        super().__init__(
            Status.REJECTED,
            f"its server worked {used:.1f} s {what}, where {allowed:.1f} are allowed",
        )


def must_not_train(server: Server, rung: Rung) -> None:
    """Worked when a server that saw nothing but the weights used its clock for more than answering.

    From its start to its first answer it may use half more than what starting costs the seed, and for that
    as well as for what answers do not explain half a second and 5 % of the budget. Where others held its
    cores as long as it worked, its start may take half as long again: caches and sibling threads are shared.
    """
    if rung.clock is Clock.TOKENS:
        return
    spare = SPARE_SECONDS + SPARE_SHARE * rung.budget
    crowded = min(server.ready_held_up_seconds / max(server.ready_seconds, 1e-9), 1.0)
    start = (UNEVEN * rung.startup_seconds + spare) * (1 + crowded * CROWDED_SHARE)
    if server.ready_seconds > start:
        raise ServerWork("before it was ready", server.ready_seconds, start)
    if rung.clock is Clock.SECONDS:  # a GPU: the first answers compile, as the seed's start did
        spare += rung.startup_seconds
    if (used := server.unexplained_seconds()) > spare:
        raise ServerWork("beside its answers", used, spare)


def rehearse(server: Server, exam: Exam) -> Floats:
    """Nats of the first server on the probe, before anything hidden; then a request of full size."""
    probe = ask_probe(server, exam)  # what it does with requests of full size is nobody's to read
    server.costs(exam.rehearsal[:, :-1], exam.rehearsal[:, 1:])
    server.knows_hidden_text()
    return probe


def ask_probe(server: Server, exam: Exam) -> Floats:
    """Nats on the probe. From then on the server may know hidden text."""
    probe = server.costs(exam.probe[:, :-1], exam.probe[:, 1:])
    server.knows_hidden_text()
    return probe


class SharedScales(Ended):
    """A source that quantises gave answers that depend on their company no further than rounding explains.

    Whether that was rounding or a peek below it, nobody can tell from outside: there is no score either way.
    """

    def __init__(self, found: Audit) -> None:
        super().__init__(
            Status.REJECTED,
            "its outputs depend on neighbours through shared scales: it quantises by a scale of the whole "
            f"batch ({found.flagged} of {found.rows} rows differ, by up to {found.largest:.2g} nats); "
            "serve in bf16, or give each position a scale of its own",
        )


class Unserved(Ended):
    """A model cannot be served as it is built: no training would mend that."""


def must_serve(
    server: Server,
    probe: Tokens,
    tolerance: Tolerance,
    rng: np.random.Generator,
    quantises: bool = False,
) -> None:
    """Unserved for an answer of another kind or shape, and for one that changes with tokens to come.

    `probe` [rows, length + 1] holds nothing hidden. SharedScales as in `must_not_peek`.
    """
    inputs, targets = probe[:, :-1], probe[:, 1:]
    cuts = rng.integers(1, inputs.shape[1], len(inputs))
    other = corrupted(inputs, cuts, server.shape.vocab, rng)
    try:
        first, second = server.costs(inputs, targets), server.costs(other, targets)
    except Ended as end:
        if end.status is not Status.REJECTED:
            raise
        fell = server.process.exit_code == UNCAUGHT
        raise Unserved(Status.CRASHED if fell else end.status, end.reason) from end
    found = audit(first, second, cuts, tolerance)
    if found.flagged and quantises and not audit(first, second, cuts, QUANTISED).flagged:
        raise SharedScales(found)
    if found.flagged:
        raise Unserved(
            Status.REJECTED,
            f"not causal: the logits at a position change with the tokens after it ({found.flagged} of "
            f"{found.rows} rows, by up to {found.largest:.2g} nats); mask what is to come",
        )


def ask_first(server: Server, exam: Exam, rng: np.random.Generator) -> tuple[Floats, ...]:
    """Nats [rows, length] of each split by A, which sees the hidden rows as they are, in an order of their own.

    The same weights are asked in the same order again: ending a scoring wins no other order.
    Fetched when it read files from disk meanwhile: which pages lie in memory is a message that outlives it.
    An honest server has all it needs by then, but for a cold machine.
    """
    before = server.process.storage_bytes()
    answers = tuple(_true_costs(server, hidden, rng) for hidden in exam.splits)
    fetched = server.process.storage_bytes() - before
    if fetched > MAX_FETCHED_BYTES:
        raise Fetched(fetched)
    return answers


def must_be_same(first: Floats, second: Floats, tolerance: Tolerance) -> Audit:
    """Ended (rejected) unless both gave the same costs on rows that hold nothing hidden."""
    cuts = np.full(len(first), first.shape[1], dtype=np.int64)
    found = audit(first, second, cuts, tolerance)
    if found.flagged:
        raise Ended(
            Status.REJECTED,
            "state outside the weights: the saved model, loaded into a fresh process, answers "
            f"differently by {found.largest:.2g} nats",
        )
    return found


def must_not_peek(
    server: Server, hidden: Hidden, costs: Floats, exam: Exam, rng: np.random.Generator
) -> tuple[Audit, ...]:
    """How far A and B are apart. Ended (cheated, or SharedScales) unless B, shown less, gives A's costs.

    They are compared before each cut.

    One look at a row checks the position before its cut against any peek, so a rare one needs several.
    Each look cuts later than the one before: what B remembers of a row never holds the token in question.
    The first question of all is one row alone, a long one: work that one row does not explain comes too late.
    The last one cuts nothing: only order and company differ, at the row's last position too. It takes some of
    the rows, one alone, then half as many at once, so that company differs even where one request holds all.
    """
    rows, length = hidden.tokens, hidden.tokens.shape[1] - 1
    cuts = secret_cuts(len(rows), length, rng, exam.looks)
    seen = [
        _corrupted_costs(server, rows, cut, rng, alone=look == 0) for look, cut in enumerate(cuts)
    ]
    compared = np.tile(costs, (exam.looks, 1)), np.concatenate(seen), cuts.ravel()
    looked = [audit(*compared, exam.tolerance)]
    if not looked[0].flagged:
        some = rng.permutation(len(rows))[: max(len(rows) // WHOLE, server.shape.rows)]
        half = max(min(server.shape.rows, len(some)) // 2, 1)
        whole = _in_halves(server, rows[some], half)
        compared = costs[some], whole, np.full(len(some), length)
        looked.append(audit(*compared, exam.tolerance))
    found = looked[-1]
    if found.flagged and exam.quantises and not audit(*compared, QUANTISED).flagged:
        raise SharedScales(found)
    if found.flagged:
        raise Ended(
            Status.CHEATED,
            f"{found.flagged} of {found.rows} rows were predicted differently when the tokens after "
            "them, or the other rows, changed",
        )
    return tuple(looked)


def _true_costs(server: Server, hidden: Hidden, rng: np.random.Generator) -> Floats:
    rows = hidden.tokens
    return _shuffled(lambda order: server.costs(rows[order, :-1], rows[order, 1:]), len(rows), rng)


def _in_halves(server: Server, rows: Tokens, most: int) -> Floats:
    """The costs of rows in this order, the first one asked alone."""
    parts = [rows[:1], rows[1:]] if len(rows) > 1 else [rows]
    return np.concatenate([server.costs(part[:, :-1], part[:, 1:], most) for part in parts])


def _corrupted_costs(
    server: Server,
    rows: Tokens,
    cuts: NDArray[np.int64],
    rng: np.random.Generator,
    alone: bool = False,
) -> Floats:
    """`alone`: the row that is cut last is asked first, by itself."""
    inputs = corrupted(rows[:, :-1], cuts, server.shape.vocab, rng)
    order = rng.permutation(len(rows))
    parts = [order]
    if alone and len(rows) > 1:
        last = int(np.argmax(cuts))
        order = np.concatenate([[last], order[order != last]])
        parts = [order[:1], order[1:]]
    answers = np.concatenate([server.costs(inputs[one], rows[one, 1:]) for one in parts])
    back = np.empty_like(answers)
    back[order] = answers
    return back


def harmless_rows(
    text: Tokens, shape: Shape, rng: np.random.Generator, most: int = 1 << 30
) -> Tokens:
    """Rows [n, length + 1] that hold nothing hidden: training text and random tokens, by turns."""
    count, width = min(shape.rows, most), shape.length + 1
    rows: Tokens = rng.integers(0, shape.vocab, (count, width)).astype(text.dtype)
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
