"""Measures one variant: trains it in a sandbox, scores it in secret, and says what was seen."""

from __future__ import annotations

import functools
import math
import os
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evo.evaluation.audit import (
    EXACT,
    REDUCED,
    ROUGH,
    WIDEST,
    Audit,
    Exam,
    Fetched,
    ServerWork,
    SharedScales,
    Tolerance,
    Unserved,
    ask_first,
    ask_probe,
    calibrated,
    harmless_rows,
    must_be_same,
    must_not_peek,
    must_not_train,
    must_serve,
    rehearse,
)
from evo.evaluation.channels import SAVE
from evo.evaluation.data import Dataset, Hidden, Split, bits_by_document, bits_per_byte
from evo.evaluation.gpu import GpuMemory
from evo.evaluation.process import Ended
from evo.evaluation.roles import LOG_CHARACTERS, CompiledCode, Run, RunContext, startup_rung
from evo.evaluation.sandbox.sandbox import Sandbox
from evo.evaluation.slots import Slot, Unwatched, Watch, host_class
from evo.evaluation.static_check import check_source, quantises, rounds
from evo.evaluation.tree import remove_folder
from evo.evaluation.unseen import MIN_BLOCKS, Reserve, must_know_all_rows_alike, no_rows
from evo.evaluation.weights import Exams, Training
from population.fingerprint import count_nodes
from population.types import (
    DERIVED,
    PROFILED,
    SEES_TEST,
    Clock,
    DocumentScore,
    Measurement,
    Purpose,
    Rung,
    RunRequest,
    Status,
)

HARNESS = Path(__file__).parents[2] / "seed" / "harness.py"
EXAMS = (
    "exams"  # beside the workspaces: runs that hidden text was shown to, until they are recorded
)
UNSEEN = "unseen"  # rows that earlier runs were not asked: their score is the metric unseen_bpb
MAX_SCORINGS = 3  # of the same weights
STARTUP_MARGIN = 1.1
WEIGHTS_DIGEST = "weights_sha256"  # among the facts: equal weights on two blocks ignore the block
HOST_CLASS = "host_class"  # among the facts: device, driver and torch of where it ran
WAITED = "waited_seconds"  # among the facts: in training, for cores that others held
SERVERS_APART = "servers_apart"  # among the facts: how far two honest servers were, and may be
TOLERANCE = "tolerance"  # among the facts of the seed's run that set it for all of its rung
OPERATIONS = "operations"  # among the facts: the dearest, as a run of the same source said
MAX_OPERATIONS = 5
_OPERATION = re.compile(
    r"^OPERATION (\d{1,3}\.\d) ([A-Za-z_][\w:.]{0,39})", re.MULTILINE | re.ASCII
)
_LOOKS = {
    Purpose.SCREEN: 1,
    Purpose.CALIBRATE: 1,
    Purpose.FINAL: 8,
    Purpose.POST: 8,
    Purpose.GRADUATE: 8,
}
PROBE_ROWS = 8
MAX_REHEARSAL_SHARE = 0.1  # of a budget: where a start costs more, training finds the fault as soon
LOOKS = 4  # at a hidden row by the second server, where nothing else is said


@dataclass(slots=True)
class _Found:
    """What a run showed so far."""

    metrics: dict[str, float] = field(default_factory=dict)
    documents: tuple[DocumentScore, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    training: Training = field(default_factory=Training)


class Evaluator:
    """Turns a request and a source into a measurement. One instance serves all slots' threads.

    Raises DataError at once when a rung asks more hidden rows than the data holds. `fresh_roles`: on a
    CPU, too, score with two new processes instead of letting the training process go on as one. `beside`:
    files that stand next to train.py; `check` says what speaks against a source and the seed's.
    """

    def __init__(
        self,
        dataset: Dataset,
        rungs: Mapping[str, Rung],
        sandbox: Sandbox,
        workspaces: Path,
        seed_source: str,
        harness: Path = HARNESS,
        fresh_roles: bool = False,
        beside: tuple[Path, ...] = (),
        check: Callable[[str, str], str | None] = check_source,
    ) -> None:
        self.dataset = dataset
        self.rungs = dict(rungs)
        self.sandbox = sandbox
        self.workspaces = workspaces
        self.seed_source = seed_source
        self.harness = harness
        self.fresh_roles = fresh_roles
        self.beside, self.check = beside, check
        self.keep_weights: Callable[[RunRequest, Path], None] | None = (
            None  # gets a scored run's file
        )
        # That rows for pairs which nobody was asked are to last for; older campaigns say 1, or 0 for none.
        self.unseen_blocks = MIN_BLOCKS
        self.profiles = (
            False  # whether the seed and each champion are asked what takes longest in them
        )
        self.profiled = set[str]()  # who was asked already
        self.rehearsal_share = MAX_REHEARSAL_SHARE
        self._rehearsed = set[tuple[str, str]]()  # variant and rung
        self.compiled = CompiledCode()
        # By rung, once the seed was scored there: how far two servers may be apart. Not widened again.
        self.tolerances: dict[str, Tolerance] = {}
        self.exams = Exams(workspaces.with_name(EXAMS))
        # whether a run has its row, so that it need not be kept for another scoring
        self.is_recorded: Callable[[RunRequest], bool] = lambda request: True
        self._answered: dict[str, list[RunRequest]] = {}  # by slot: measured there, and still kept
        self._seed_nodes = count_nodes(seed_source)
        self._host = socket.gethostname()
        self._text = dataset.training_text()
        splits: tuple[Split, ...] = ("val", "test")
        self._hidden = {
            (rung.name, split): dataset.hidden(split, rung.context, rung.rows)
            for rung in self.rungs.values()
            for split in splits
        }
        self._ladder = ladder = list(
            dict.fromkeys(name.partition(DERIVED)[0] for name in self.rungs)
        )
        self._reserves = {
            (rung.name, split): Reserve(
                dataset,
                split,
                rung.context,
                rung.rows,
                ladder.index(rung.name.partition(DERIVED)[0]),
            )
            for rung in self.rungs.values()
            for split in splits
        }

    def evaluate(self, request: RunRequest, source: str, slot: Slot, watch: Watch) -> Measurement:
        """Train and score one variant. Whatever the child does is data; our own fault is `lost`.

        Call it in a thread that outlives the run: the sandbox dies with the thread that started it. A run
        that was lost after hidden text was shown is scored again, not trained; it is kept until `is_recorded`.
        """
        # before it is measured: nothing that is measured waits to be recorded
        asked = self._is_profiled(request) and not self.check(source, self.seed_source)
        operations = self._operations(request, source, slot, watch) if asked else {}
        began, started_at = time.monotonic(), time.time()
        found, status, reason = _Found(), Status.OK, ""
        try:
            self._forget_recorded(slot)
            self._measure(request, source, slot, watch, found)
        except Ended as end:
            status, reason = end.status, end.reason
        except OSError as error:  # a full disk, no more processes: not the variant's doing
            status, reason = Status.LOST, f"{type(error).__name__}: {error}"
        if status is not Status.LOST:
            self._answered.setdefault(slot.name, []).append(request)
        training = found.training
        return Measurement(
            request=request,
            status=status,
            reason=reason,
            metrics=found.metrics if status is Status.OK else {},
            documents=found.documents if status is Status.OK else (),
            curve=training.curve,
            slot=slot.name,
            host=self._host,
            device=slot.device,
            started_at=started_at,
            wall_seconds=time.monotonic() - began,
            cpu_seconds=training.cpu_seconds,
            train_wall_seconds=training.wall_seconds,
            self_reported_steps=training.steps,
            self_reported_tokens=training.tokens,
            facts={
                **self.sandbox.facts,
                **found.facts,
                **(operations if status is Status.OK else {}),
                WAITED: f"{training.waited_seconds:.3f}",
                HOST_CLASS: host_class(slot),
            },
            log_tail=training.log_tail,
        )

    def _is_profiled(self, request: RunRequest) -> bool:
        """Whether before this run another one says what takes longest; once for each variant."""
        timed = self.rungs[request.rung].clock is not Clock.TOKENS
        return (
            self.profiles
            and timed
            and request.purpose in PROFILED
            and request.variant_id not in self.profiled
        )

    def _operations(
        self, request: RunRequest, source: str, slot: Slot, watch: Watch
    ) -> dict[str, str]:
        """A fact: the operations that took longest in a few steps, each with its share; {} where none are told.

        A process of its own in the box says so, off any clock that scores. It is the variant's word, which may
        be a lie: it is a hint for models, and nothing is decided by it.
        """
        self.profiled.add(request.variant_id)
        rung = startup_rung(self.rungs[request.rung])
        with (
            suppress(Ended, OSError),
            self._run(rung, request.block, source, slot, watch, profile=True) as run,
        ):
            trainer = run.start_training()
            with suppress(Ended):  # it leaves before it saves
                trainer.until(SAVE)
            told = _OPERATION.findall(trainer.log.text(LOG_CHARACTERS))[:MAX_OPERATIONS]
            if told:
                shares = (f"{name} {float(share):.0f} %" for share, name in told)
                return {OPERATIONS: ", ".join(shares)}
        return {}

    def _forget_recorded(self, slot: Slot) -> None:
        """A pair's second run begins before the first one's row is written: until then that one is kept."""
        kept = []
        for request in self._answered.pop(slot.name, []):
            if self.is_recorded(request):
                self.exams.end(request)
            else:
                kept.append(request)
        self._answered[slot.name] = kept

    def fresh_blocks(self, rung: str) -> int:
        """How many blocks' pairs can be asked validation rows that nobody was asked before."""
        if not self.unseen_blocks:
            return 0
        return self._reserves[rung, "val"].blocks_held(self.unseen_blocks)

    def measure_startup(self, rung: str, slot: Slot) -> tuple[float, float]:
        """Seconds of the rung's clock that starting costs the seed: median of 2, x 1.1.

        From exec to its first progress(); on a GPU to the end of its first step. Where the seed compiles,
        all of its rung find it compiled: the second number is what the first steps cost it before that,
        else 0. Raises Ended when the seed does not get that far.
        """
        measured = startup_rung(self.rungs[rung])
        if measured.clock is Clock.TOKENS:
            return 0.0, 0.0
        starts, cold, known = list[float](), 0.0, self.compiled
        texts = (self.seed_source, *(path.read_text("utf-8") for path in self.beside))
        of_seed = (measured, 0, self.seed_source, slot, Unwatched())
        if any("compile" in text for text in texts):
            with self._run(*of_seed, compiles=True) as run:
                found, seconds = self._compile_seed(rung, run)
                if found:
                    known.cold_seconds[rung] = cold = STARTUP_MARGIN * seconds
                    known.by_seed[rung] = found
                elif run.ready_mark in run.heard().arrived:
                    starts.append(run.ready_seconds())
        while len(starts) < 2:
            with self._run(*of_seed, compiled=known.by_seed.get(rung)) as run:
                run.start_training().until(run.ready_mark)
                starts.append(run.ready_seconds())
        return STARTUP_MARGIN * statistics.median(starts), cold

    def _found_compiled(
        self, request: RunRequest, source: str, slot: Slot, watch: Watch
    ) -> Mapping[str, bytes]:
        """What a run on a clock finds compiled: nothing at a rung where the seed compiles nothing.

        Its clock runs from the start, so all start warm or none: else the structure of the seed would train
        while others compile.
        """
        rung = self.rungs[_rung_of(request)]
        if rung.name not in self.compiled.cold_seconds:
            return {}

        start = functools.partial(self._run, startup_rung(rung), 0, compiles=True)

        def seed() -> Mapping[str, bytes]:
            with start(source=self.seed_source, slot=slot, watch=watch) as run:
                return self._compile_seed(rung.name, run)[0]

        def variant(begun: Mapping[str, bytes], seconds: float) -> Mapping[str, bytes]:
            if source == self.seed_source:
                return begun
            with start(source=source, slot=slot, watch=watch, compiled=begun) as run:
                return run.compile(seconds)[0]

        return self.compiled.of(rung.name, request.variant_id, seed, variant)

    def _compile_seed(self, rung: str, run: Run) -> tuple[Mapping[str, bytes], float]:
        """As `Run.compile`; also notes what starting costs who finds nothing."""
        compiled = run.compile(math.inf)
        if run.ready_mark in run.heard().arrived:
            self.compiled.ready_seconds[rung] = STARTUP_MARGIN * run.ready_seconds()
        return compiled

    def _measure(
        self, request: RunRequest, source: str, slot: Slot, watch: Watch, found: _Found
    ) -> None:
        if problem := self.check(source, self.seed_source):
            raise Ended(Status.REJECTED, problem)
        last: Ended | None = None
        for scoring in range(1, MAX_SCORINGS + 1):
            try:
                self._measure_once(request, source, slot, watch, found)
            except (Fetched, ServerWork, _Died) as end:
                last, so_often = end, isinstance(last, type(end))
                found.facts["scorings"] = f"{scoring}, the last one not counted: {end.reason}"
                if isinstance(end, _Died) and so_often:
                    raise Ended(Status.CHEATED, f"{end.reason}, and again") from end
                continue
            break
        else:
            assert last is not None
            raise Ended(last.status, f"{last.reason}, {MAX_SCORINGS} times") from last
        if isinstance(last, _Died):
            raise last
        tokens, metrics, parameters = (
            found.training.tokens,
            found.metrics,
            found.training.parameters,
        )
        metrics["parameters"] = float(parameters)
        metrics["weights_mb"] = found.training.weights_bytes / 2**20
        metrics["added_nodes"] = float(max(count_nodes(source) - self._seed_nodes, 0))
        metrics["peak_memory_mb"] = found.training.peak_bytes / 2**20
        seconds = max(found.training.wall_seconds, 1e-9)
        metrics["train_tokens_per_second"] = tokens / seconds
        metrics["epochs"] = self.dataset.epochs(request.block, tokens)
        metrics["tokens_per_parameter"] = tokens / max(parameters, 1)

    def _measure_once(
        self, request: RunRequest, source: str, slot: Slot, watch: Watch, found: _Found
    ) -> None:
        """Train unless that was done, and score the weights."""
        memory = GpuMemory(slot.gpu_uuids) if slot.gpu_uuid else None
        rung = self.rungs[request.rung]
        kept, compiled = self.exams.find(request), dict[str, bytes]()
        if kept is None:
            self._rehearse(request, source, slot, watch, found)
            compiled = {**self._found_compiled(request, source, slot, watch)}
            found.facts |= self.compiled.facts(_rung_of(request), compiled)
        with self._run(rung, request.block, source, slot, watch, memory, compiled=compiled) as run:
            if kept is None:
                self._train(run, found, memory)
                if run.setting.keeps_compiled:
                    self.compiled.by_seed[rung.name] = run.compiled
            else:
                found.training, weights = kept
                run.take(weights, found.training.weights_sha256)
            found.facts[WEIGHTS_DIGEST] = found.training.weights_sha256
            self._score(request, source, run, found)
            if self.keep_weights:
                self.keep_weights(request, run.weights)

    def _rehearse(
        self, request: RunRequest, source: str, slot: Slot, watch: Watch, found: _Found
    ) -> None:
        """Serve a few rows before any training, once for a variant at a rung: a fault then costs a start.

        Ended for an answer of another kind or shape, an error on the way there, or a model that is not causal.
        What else ends there is left to training and to the exam.
        """
        rung = self.rungs[request.rung]
        cheap = rung.startup_seconds <= self.rehearsal_share * rung.budget
        known = (request.variant_id, request.rung)
        if rung.clock is Clock.TOKENS or not cheap or known in self._rehearsed:
            return
        self._rehearsed.add(known)
        rng = np.random.default_rng(int.from_bytes(os.urandom(16), "little"))
        tolerance = ROUGH if slot.device == "cpu" else REDUCED
        allowed = self._tolerance(request, source, slot)
        if allowed.largest is None and allowed.tail > tolerance.tail:
            tolerance = allowed
        with self._run(startup_rung(rung), request.block, source, slot, watch) as run:
            probe = harmless_rows(self._text, run.setting.shape, rng, PROBE_ROWS)
            try:
                must_serve(run.untrained_server(), probe, tolerance, rng, quantises(source))
            except Ended as end:
                if end.status in (Status.STOPPED, Status.TIMED_OUT):
                    raise
                if end.status is Status.CRASHED or isinstance(end, Unserved | SharedScales):
                    found.training = run.training()
                    raise Ended(end.status, f"before any training: {end.reason}") from end

    def _train(self, run: Run, found: _Found, memory: GpuMemory | None) -> None:
        try:
            trained = run.train()
        finally:
            found.training = run.training()
        found.training.parameters = trained.weights.parameters
        found.training.weights_bytes = trained.weights.bytes
        found.training.weights_sha256 = trained.weights.sha256
        found.training.peak_bytes = memory.peak_bytes if memory else trained.peak_bytes

    def _score(self, request: RunRequest, source: str, run: Run, found: _Found) -> None:
        """The exam. Before the first hidden request an end is what it is; from then on it is a verdict."""
        rng = np.random.default_rng(int.from_bytes(os.urandom(16), "little"))
        order = np.random.default_rng(int(found.training.weights_sha256, 16))
        splits = self._asked(request, found)
        exam = Exam(
            probe=harmless_rows(self._text, run.setting.shape, rng, PROBE_ROWS),
            rehearsal=harmless_rows(self._text, run.setting.shape, rng, run.setting.rung.rows),
            splits=tuple(splits.values()),
            looks=_LOOKS.get(request.purpose, LOOKS),
            tolerance=self._tolerance(request, source, run.setting.slot),
            quantises=quantises(source),
        )
        begun, knows, apart = self.exams.find(request) is not None, False, list[Audit]()
        try:
            first = run.first_server()
            probe = rehearse(first, exam)
            if not begun:
                if run.trainer is not None:
                    found.training.log_tail = run.trainer.log.text(LOG_CHARACTERS)
                self.exams.begin(request, found.training, run.weights)
            begun = knows = True
            said = ask_first(first, exam, order)
            knows = False
            second = run.second_server()
            apart.append(must_be_same(probe, ask_probe(second, exam), exam.tolerance))
            knows = True
            for rows, costs in zip(exam.splits, said, strict=True):
                apart += must_not_peek(second, rows, costs, exam, rng)
            widest = max(apart, key=lambda one: one.largest)
            found.facts[SERVERS_APART] = widest.in_words(exam.tolerance)
            found.facts["second_server"] = second.in_words()
            # last: overtime must win no other look
            must_not_train(second, self.compiled.for_servers(run.setting.rung))
        except Ended as end:
            if not begun:
                raise
            raise _verdict(end, knows) from end
        by_split = dict(zip(splits, said, strict=True))
        if UNSEEN in by_split:
            must_know_all_rows_alike(
                by_split["val"],
                by_split[UNSEEN],
                splits["val"].documents,
                splits[UNSEEN].documents,
                found.facts,
            )
        for name, one in splits.items():
            documents = bits_by_document(by_split[name], one)
            found.metrics[f"{name}_bpb"] = bits_per_byte(documents)
            if name == "val":
                found.documents = documents
        found.metrics["serve_tokens_per_second"] = first.tokens_per_second()
        if exam.tolerance is WIDEST:
            self._set_tolerance(request, run.setting.slot, apart, found)

    def _set_tolerance(
        self, request: RunRequest, slot: Slot, apart: Sequence[Audit], found: _Found
    ) -> None:
        """By a run of the seed. Its row says so, for the campaign to know when it goes on."""
        mine = calibrated(_floor(slot), apart)
        if self.tolerances.setdefault(_rung_of(request), mine) is mine:
            found.facts[TOLERANCE] = mine.in_words()

    def _tolerance(self, request: RunRequest, source: str, slot: Slot) -> Tolerance:
        """How far its servers may be apart: set by the seed at the rung, or until then at the one below.

        The seed is trusted: its first run is held to WIDEST alone where its precision is reduced, and says what
        all others, itself among them, are held to. No other run ever widens it.
        """
        rung, floor = _rung_of(request), _floor(slot)
        rounded = floor is not EXACT or rounds(self.seed_source)
        if source == self.seed_source and rung not in self.tolerances and rounded:
            return WIDEST
        below = self._ladder[: self._ladder.index(rung) + 1]
        known = next((self.tolerances[one] for one in below[::-1] if one in self.tolerances), floor)
        return floor if floor is not EXACT and known.largest is not None else known

    def _asked(self, request: RunRequest, found: _Found) -> dict[str, Hidden]:
        """The hidden rows of this run: the fixed sample, and rows that earlier runs were not asked."""
        asked = {"val": self._hidden[request.rung, "val"]}
        if request.purpose in SEES_TEST:
            asked["test"] = self._hidden[request.rung, "test"]
        if not self.unseen_blocks:
            return asked
        if "test" in asked and (
            own := self._reserves[request.rung, "test"].of(request, self.unseen_blocks)
        ):
            asked["test"] = own.hidden
        unseen = self._reserves[request.rung, "val"].of(request, self.unseen_blocks)
        if unseen is None:
            found.facts["unseen_rows"] = no_rows("val")
            return asked
        again = ", which earlier blocks were asked too" if unseen.again else ""
        found.facts["unseen_rows"] = f"{len(unseen.hidden.tokens)}{again}"
        return {**asked, UNSEEN: unseen.hidden}

    @contextmanager
    def _run(
        self,
        rung: Rung,
        block: int,
        source: str,
        slot: Slot,
        watch: Watch,
        memory: GpuMemory | None = None,
        profile: bool = False,
        compiled: Mapping[str, bytes] | None = None,
        compiles: bool = False,
    ) -> Iterator[Run]:
        """A run in a workspace of its own; both are gone afterwards."""
        self.workspaces.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix="run-", dir=self.workspaces)).resolve()
        by_seed = self.compiled.by_seed.get(rung.name.partition(DERIVED)[0])
        fills = rung.clock is Clock.TOKENS and by_seed is None and source == self.seed_source
        if rung.clock is Clock.TOKENS:
            compiled = by_seed
        setting = RunContext(
            sandbox=self.sandbox,
            dataset=self.dataset,
            rung=rung,
            block=block,
            slot=slot,
            harness=self.harness,
            workspace=workspace,
            fresh_roles=self.fresh_roles or slot.device != "cpu",
            beside=self.beside,
            gauge=memory.sample if memory else None,
            profile=profile,
            compiled=compiled or {},
            compiled_by_seed=by_seed or {},
            keeps_compiled=fills or compiles,
        )
        try:
            run = Run(setting, source, watch)
            try:
                yield run
            finally:
                run.close()
        finally:
            remove_folder(workspace)


def _floor(slot: Slot) -> Tolerance:
    """The least that is allowed on a device."""
    return EXACT if slot.device == "cpu" else REDUCED


def _rung_of(request: RunRequest) -> str:
    """The rung of the ladder that a request's is, or is made from."""
    return request.rung.partition(DERIVED)[0]


class _Died(Ended):
    """A server that knew hidden text ended by its own doing: that it did may be the message."""


def _verdict(end: Ended, knows: bool) -> Ended:
    """What an end means once hidden text was shown: the machine's is lost, the variant's a verdict.

    `knows`: whether the server that ended had seen any of it.
    """
    judged = isinstance(end, Fetched | ServerWork | SharedScales)
    if judged or end.status in (Status.LOST, Status.CHEATED):
        return end
    said = end.reason if end.status is Status.REJECTED else f"{end.status}, {end.reason}"
    if knows:
        return _Died(Status.REJECTED, f"its server ended among the hidden rows: {said}")
    return Ended(Status.REJECTED, said)
