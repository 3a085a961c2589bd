"""The three roles of one run: train, and two servers that must agree."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import stat
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from evo.evaluation.audit import Server, Shape, shape_for
from evo.evaluation.channels import DONE, INIT, READY, SAVE, STEP
from evo.evaluation.data import Dataset
from evo.evaluation.process import Ended, Heard, Limits, RoleProcess
from evo.evaluation.sandbox.sandbox import COMPILED, Sandbox, View
from evo.evaluation.slots import Slot, Watch
from evo.evaluation.tree import remove_folder
from evo.evaluation.weights import Training, Weights, take_weights
from population.types import DERIVED, Clock, CurvePoint, Rung, Status

OVERTIME = 1.02  # of the budget, by our own reading, before the grace for saving
# About half of what one core does where it is slow: writing, reading back, copying.
SAVED_BYTES_PER_SECOND = {Clock.CPU_SECONDS: 200e6, Clock.SECONDS: 50e6}
LOG_CHARACTERS = 4096
_SEED = 0x5EED


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the roles of one run share. `fresh_roles`: the training process serves nothing."""

    sandbox: Sandbox
    dataset: Dataset
    rung: Rung
    block: int
    slot: Slot
    harness: Path
    workspace: Path
    fresh_roles: bool
    beside: tuple[Path, ...] = ()  # further files that stand next to train.py
    gauge: Callable[[], None] | None = None  # called at every look, on a GPU
    profile: bool = False  # it only says what takes longest in a few steps
    compiled: Mapping[str, bytes] = field(default_factory=dict)  # by its path: what training finds
    compiled_by_seed: Mapping[str, bytes] = field(default_factory=dict)  # what servers find
    keeps_compiled: bool = False  # what it compiles is kept: it is the seed, or only compiles

    @property
    def shape(self) -> Shape:
        """The form of requests at this rung."""
        return shape_for(self.rung.context, self.dataset.vocab)


@dataclass(frozen=True, slots=True)
class Trained:
    """What training used and left."""

    weights: Weights
    peak_bytes: int


class Run:
    """One run from start to the last process gone. Methods raise Ended; `close` always works."""

    def __init__(self, setting: RunContext, source: str, watch: Watch) -> None:
        self.setting = setting
        self.watch = watch
        self.trainer: RoleProcess | None = None
        self._running: list[RoleProcess] = []
        self._homes: list[Path] = []  # of roles, where they may write
        self._began = time.monotonic()
        self._held_up_seconds = 0.0  # of the roles that are gone
        self.compiled: Mapping[str, bytes] = {}  # of what it compiled itself, where that is kept
        self._saved = setting.workspace / "saved.safetensors"  # a run writes it
        self._copy = setting.workspace / "weights.safetensors"  # and never sees this one
        if setting.sandbox.drops:
            setting.workspace.chmod(0o711)  # made for its owner alone
        code = setting.workspace / "code"
        code.mkdir()
        (code / "train.py").write_text(source, encoding="utf-8")
        shutil.copyfile(setting.harness, code / "harness.py")
        for path in setting.beside:
            shutil.copyfile(path, code / path.name)

    @property
    def weights(self) -> Path:
        """Our copy of what training saved; gone with the workspace."""
        return self._copy

    def start_training(self) -> RoleProcess:
        """The training role, started; it may go on as the first server."""
        rung = self.setting.rung
        home = self._folder("train")
        self._saved.touch()
        self.trainer = self._start("train", home, self._saved, budget_limit(rung))
        return self.trainer

    def train(self) -> Trained:
        """Train to the end of the budget, take the weights, and count them."""
        trainer = self.start_training()
        trainer.until(SAVE)
        peak = trainer.peak_bytes()
        with trainer.stopped(self._saved):
            weights = take_weights(self._saved, self._copy, self.setting.rung.memory_mb << 20)
            if self.setting.keeps_compiled:  # now, for it may go on to serve hidden text
                self.compiled = read_compiled(self._homes[0] / COMPILED)
        if self.setting.fresh_roles:
            trainer.close_log()
            self._end(trainer)
        return Trained(weights, peak)

    def compile(self, clock_seconds: float) -> tuple[dict[str, bytes], float]:
        """What its first steps compile, on a text of zeros, and the seconds of the clock up to there.

        Nothing else of it is kept, and it has seen nothing: what is compiled ahead of time can have learned
        nothing. Ended only where the machine or a person ends it, or the wall limit before the clock's;
        what else ends there says training.
        """
        home = self._folder("compile")
        self._saved.touch()
        self.trainer = self._start("train", home, self._saved, clock_seconds, compiles=True)
        try:
            self.trainer.until(SAVE)
        except Ended as end:
            if end.status is Status.LOST:
                raise
            if end.status is Status.TIMED_OUT and self.trainer.clock() <= clock_seconds:
                raise Ended(end.status, f"where it compiles: {end.reason}") from end
        seconds = self.trainer.clock()
        self.close()
        return read_compiled(home / COMPILED), seconds

    def take(self, kept: Path, sha256: str) -> None:
        """The weights of an earlier process, to be scored again. Lost when they are not those it kept."""
        shutil.copyfile(kept, self._saved)
        try:
            same = take_weights(self._saved, self._copy, self.setting.rung.memory_mb << 20)
        except Ended as end:
            raise Ended(Status.LOST, f"the weights that were kept: {end.reason}") from end
        if same.sha256 != sha256:
            raise Ended(Status.LOST, "the weights that were kept are damaged")

    def first_server(self) -> Server:
        """The server that will see the truth: on a CPU, the process that trained, if it still runs."""
        if self.setting.fresh_roles or self.trainer is None:
            return self._server("serve-a")
        return self._asked(self._running[0])

    def second_server(self) -> Server:
        """The server that has seen nothing but the weights. The first is gone before this one starts.

        So is all that it could write to: where a box has no file system of its own, the names, sizes and times
        there are for everyone to ask.
        """
        self.close()
        for folder in self._homes:
            remove_folder(folder)
        with contextlib.suppress(OSError):
            self._saved.unlink(missing_ok=True)
        if left := [path for path in (*self._homes, self._saved) if os.path.lexists(path)]:
            raise Ended(Status.LOST, f"{left[0].name} of the first server cannot be removed")
        return self._server("serve-b")

    def untrained_server(self) -> Server:
        """A server of the model as it is built, before any training."""
        self._copy.touch()
        process = self._start("serve", self._folder("rehearsal"), self._copy, math.inf, True)
        self.trainer = process  # its log is the one that is told
        process.until(READY)
        return self._asked(process)

    def _server(self, name: str) -> Server:
        process = self._start("serve", self._folder(name), self._copy, math.inf)
        try:
            process.until(READY)
        except Ended as end:
            if end.status is not Status.CRASHED:
                raise
            what = "a fresh process could not load and serve the saved weights"
            raise Ended(Status.REJECTED, f"{what}: {end.reason}") from end
        return self._asked(process)

    def _asked(self, process: RoleProcess) -> Server:
        """A process that serves, to be asked; the slot's cores work out what its answers cost."""
        setting = self.setting
        cores = max(len(setting.slot.cpus), 1)
        return Server(process, setting.shape, setting.rung.wall_seconds, cores)

    def close(self) -> None:
        """End everything that still runs."""
        while self._running:
            self._end(self._running[-1])

    def heard(self) -> Heard:
        """What the training role told."""
        return self.trainer.heard if self.trainer else Heard()

    @property
    def ready_mark(self) -> bytes:
        """What says that a start is over: on a GPU the first step, which compiles."""
        return INIT if self.setting.slot.device == "cpu" else STEP

    def ready_seconds(self) -> float:
        """Of its clock, from exec to that mark of its training role."""
        assert self.trainer is not None
        if self.setting.rung.clock is Clock.CPU_SECONDS:
            return self.trainer.heard.readings[self.ready_mark].cpu_seconds
        return self.trainer.heard.arrived[self.ready_mark] - self.trainer.began

    def training(self) -> Training:
        """What the training role showed until now."""
        trainer = self.trainer
        if trainer is None:
            return Training()
        heard, arrived = trainer.heard, trainer.heard.arrived
        seconds = arrived[DONE] - arrived[INIT] if {INIT, DONE} <= arrived.keys() else 0.0
        saved = heard.readings.get(SAVE)
        on_cpu_clock = self.setting.rung.clock is Clock.CPU_SECONDS
        return Training(
            curve=tuple(heard.curve),
            tokens=heard.tokens,
            steps=heard.steps,
            wall_seconds=max(seconds, 0.0),
            cpu_seconds=saved.cpu_seconds if saved else trainer.cpu_seconds(),
            waited_seconds=trainer.waited_seconds()
            if on_cpu_clock
            else 0.0,  # on others the wait is in the score
            log_tail=trainer.log.text(LOG_CHARACTERS),
        )

    def _end(self, process: RoleProcess) -> None:
        self._held_up_seconds += process.held_up_seconds()
        process.close()
        self._running.remove(process)

    def _folder(self, name: str) -> Path:
        folder = self.setting.workspace / name
        folder.mkdir()
        self._homes.append(folder)
        return folder

    def _data(self, trains: bool, home: Path) -> tuple[Path, ...]:
        """The block's text to train on; for a server, files of the same sizes that hold zeros.

        A model that keeps its numbers in the text, or trains on while it is served, fails there.
        """
        pieces = self.setting.dataset.pieces(self.setting.block)
        if trains:
            return pieces
        # Of its own: which pages of a file were read can be seen by the next process that opens it.
        folder = self.setting.workspace / f"blank-{home.name}"
        if not folder.is_dir():
            folder.mkdir()
            for piece in pieces:
                with (folder / piece.name).open("xb") as file:
                    file.truncate(piece.stat().st_size)
        return tuple(folder / piece.name for piece in pieces)

    def _start(
        self,
        role: str,
        home: Path,
        weights: Path,
        clock_seconds: float,
        rehearses: bool = False,
        compiles: bool = False,
    ) -> RoleProcess:
        setting, rung = self.setting, self.setting.rung
        trains = role == "train"
        serves = not trains or not setting.fresh_roles
        compiled = setting.compiled if trains else setting.compiled_by_seed
        if setting.keeps_compiled:
            (home / COMPILED).mkdir(exist_ok=True)
            for name, content in compiled.items():
                path = home / COMPILED / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        threads = len(setting.slot.cpus) if rung.clock is Clock.SECONDS else 1
        view = View(
            code=setting.workspace / "code",
            data=self._data(trains and not compiles, home),
            scratch=home,
            weights=weights,
            writes_weights=trains,
            memory_mb=rung.memory_mb,
            threads=threads,
            gpu=setting.slot.gpu,
            gpu_uuid=setting.slot.gpu_uuid,
            other_gpus=setting.slot.other_gpus,
            compiled={} if setting.keeps_compiled else compiled,
            keeps_compiled=setting.keeps_compiled,
        )
        launch = setting.sandbox.launch(view)
        spec = {
            "role": role,
            "seed": seed_of(setting.block),
            "device": setting.slot.device,
            "depth": rung.depth,
            "context": rung.context,
            "vocab": setting.dataset.vocab,
            "token_type": setting.dataset.token_type,
            "data_offset": setting.dataset.header_bytes,
            "data": launch.data,
            "clock": str(rung.clock),
            "budget": rung.budget,
            "startup_seconds": rung.startup_seconds,
            "threads": threads,
            "serve_after": trains and serves,
            "weights": launch.weights,
        }
        if setting.profile:
            spec["profile"] = True
        if rehearses:
            spec["rehearses"] = True
        if compiles:
            spec["compiles"] = True
        limits = Limits(
            wall_seconds=rung.wall_seconds,
            began=self._began,  # one limit for all roles together
            held_up_seconds=self._held_up_seconds,
            memory_bytes=rung.memory_mb << 20,
            processes=setting.sandbox.settings.processes,
            scratch_bytes=setting.sandbox.settings.scratch_mb << 20,
            clock=rung.clock,
            clock_seconds=clock_seconds,
            # who compiles saves nothing: it has no time for that
            saved_bytes_per_second=math.inf
            if compiles
            else SAVED_BYTES_PER_SECOND.get(rung.clock, math.inf),
        )
        shared = setting.shape.reply_bytes if serves else 0
        process = RoleProcess(
            launch,
            spec,
            limits,
            self.watch if trains and not (setting.profile or compiles) else _Unfollowed(self.watch),
            setting.slot.cpus,
            shared,
            setting.gauge,
        )
        self._running.append(process)  # first of all: a watcher may fail
        self.watch.started(process.pid, process.started_at)
        return process


@dataclass(frozen=True, slots=True)
class _Unfollowed:
    """The watch of a server, or of a run that only says what takes longest: nothing to stop early there."""

    watch: Watch

    def started(self, pid: int, started_at: float) -> None:
        self.watch.started(pid, started_at)

    def progress(self, point: CurvePoint) -> None:
        """Nothing: no curve is followed."""

    def stopping(self) -> bool:
        return self.watch.stopping()

    def hopeless(self) -> str:
        return ""


MAX_COMPILED_FILES, MAX_COMPILED_BYTES = 512, 64 << 20  # a descriptor each, and memory of each box
MAX_COMPILED_PATH = 512  # a command line holds all of them


def read_compiled(folder: Path) -> dict[str, bytes]:
    """What a role compiled into a folder: plain files by their paths in it, less locks.

    {} when there are too many, one is a link or anything else or cannot be read, and when the folder itself is
    a link by now: it may lead to what no role is to read.
    """
    found: dict[str, bytes] = {}
    room = MAX_COMPILED_BYTES
    if folder.is_symlink():
        return {}
    try:
        for top, folders, names in os.walk(folder):
            folders[:] = [one for one in folders if one != "locks"]
            for path in (Path(top, name) for name in names):
                seen, inside = path.lstat(), str(path.relative_to(folder))
                room -= seen.st_size
                plain = stat.S_ISREG(seen.st_mode) and len(inside) <= MAX_COMPILED_PATH
                if not plain or room < 0 or len(found) == MAX_COMPILED_FILES:
                    return {}
                found[inside] = path.read_bytes()
    except OSError:  # it is the role's doing, not the machine's
        return {}
    return found


COMPILED_AHEAD = "compiled_ahead"  # among the facts: code of its own that training found
COMPILE_SHARE = 1.5  # of what compiling costs the seed: a variant may take so long
# What it may add, packed: so many times what the seed compiled, or so much where that was little.
ADDED_TIMES, MIN_ADDED_BYTES = 3, 1 << 18
MAX_KEPT = 16  # variants whose compiled code is held; it is made again for others


class CompiledCode:
    """What runs find compiled, at the rungs where the seed compiles: its own code for each variant.

    Compiled in a start of its own that sees no text. A variant begins it with what the seed compiled, so that
    one of the same structure finds all; what it adds is given to its own training alone.
    """

    def __init__(self) -> None:
        self.cold_seconds: dict[
            str, float
        ] = {}  # by rung, where the seed compiles: of its first start
        self.ready_seconds: dict[str, float] = {}  # by rung: of that, until it was ready
        self.by_seed: dict[str, Mapping[str, bytes]] = {}  # by rung
        self._own: dict[tuple[str, str], Mapping[str, bytes]] = {}  # by rung and variant
        self._one_at_a_time = threading.Lock()

    def of(
        self,
        rung: str,
        variant_id: str,
        seed: Callable[[], Mapping[str, bytes]],
        compile: Callable[[Mapping[str, bytes], float], Mapping[str, bytes]],
    ) -> Mapping[str, bytes]:
        """For a variant's runs at a rung. `seed` and `compile` make what is not known yet."""
        with self._one_at_a_time:
            if rung not in self.by_seed:
                self.by_seed[rung] = seed()
        known = self._own.pop((rung, variant_id), None)
        if known is None:
            started = self.by_seed[rung]
            known = compile(started, COMPILE_SHARE * self.cold_seconds[rung])
            most = max(ADDED_TIMES * _packed_bytes(started), MIN_ADDED_BYTES)
            same_structure = known.keys() <= started.keys()
            if same_structure or _packed_bytes(_added(known, started)) > most:
                known = started
        with self._one_at_a_time:
            self._own[rung, variant_id] = known
            while len(self._own) > MAX_KEPT:
                del self._own[next(iter(self._own))]
        return known

    def facts(self, rung: str, found: Mapping[str, bytes]) -> dict[str, str]:
        """What a variant's training finds beside what the seed compiled; {} for nothing."""
        added = _added(found, self.by_seed.get(rung, {}))
        told = f"{len(added)} files, {_packed_bytes(added) / 1000:.0f} kB packed"
        return {COMPILED_AHEAD: told} if added else {}

    def for_servers(self, rung: Rung) -> Rung:
        """A rung as it is for servers: starting costs what it cost the seed when it found nothing."""
        name = rung.name.partition(DERIVED)[0]
        cold = self.ready_seconds.get(name, self.cold_seconds.get(name, 0.0))
        return replace(rung, startup_seconds=max(rung.startup_seconds, cold))


def _added(found: Mapping[str, bytes], started: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if started.get(name) != content}


def _packed_bytes(files: Mapping[str, bytes]) -> int:
    """Their names and contents, as what can be told in them: code packs well, numbers do not.

    An eighth of their size at least: what packs better than code is held by us all the same.
    """
    whole = (os.fsencode(name) + content for name, content in files.items())
    return sum(max(len(zlib.compress(one, 1)), len(one) // 8) for one in whole)


def seed_of(block: int) -> int:
    """The seed of initialisation and data order that a block stands for."""
    state = np.random.SeedSequence([block, _SEED]).generate_state(1)
    return int(state[0]) >> 1


def budget_limit(rung: Rung) -> float:
    """Seconds by our own reading beyond which a run is timed out; infinite for tokens."""
    if rung.clock is Clock.TOKENS:
        return math.inf
    return rung.startup_seconds + rung.budget * OVERTIME + rung.grace_seconds


def startup_rung(rung: Rung) -> Rung:
    """The rung as used to measure start-up: nothing but the wall limit ends it."""
    return replace(rung, startup_seconds=rung.wall_seconds, grace_seconds=rung.wall_seconds)
