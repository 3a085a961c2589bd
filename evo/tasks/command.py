"""Measures one variant by a command of the user's: run in a box, on a copy of the user's folder.

What the command prints or writes is a figure that the variant itself could have made up: it is kept as
self-reported. Time, memory and the size of the edit are read by us.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evo.evaluation.evaluator import HOST_CLASS, WAITED
from evo.evaluation.gpu import GpuMemory
from evo.evaluation.process import POLL_SECONDS, Ended, Limits, RoleProcess
from evo.evaluation.roles import LOG_CHARACTERS, seed_of
from evo.evaluation.sandbox.sandbox import (
    BOX,
    JOB,
    JOB_PLACE,
    SAFE_PATH,
    Job,
    Sandbox,
    View,
    also_found_at,
)
from evo.evaluation.slots import Slot, Watch, host_class
from evo.evaluation.tree import remove_folder
from evo.files import take_bytes
from evo.tasks.figures import read_figures, without_figures
from evo.tasks.folder_copy import FolderCopy, read_files
from evo.tasks.interpreters import VENV, interpreter
from evo.tasks.settings import DRIVER, MetricSettings, TaskError, TaskSettings, objection_to
from population.file_set import is_python
from population.fingerprint import count_nodes
from population.metrics import Trust, is_held_out, trust_of
from population.types import ONE_STEP, SEES_TEST, Measurement, Rung, RunRequest, Status

OUT = "evo-out"  # what {out} stands for, in the folder of a run
MIXING = "evo-mixing"  # the folder of a run that Python imports MIXER from
DRIVERS = Path(__file__).parents[2] / "seed" / "drivers"  # by kind of task
MIXER = Path(__file__).parents[2] / "seed" / "mixing" / "sitecustomize.py"
OUTPUT_BYTES = 16 << 20
CHECK_SECONDS = 60.0  # of the wall, for a check and for the judge
MAX_TAKEN_BYTES = 256 << 20  # of all files that a judge is given
# What can be read without running what it says: no pickle, no torch file.
TAKEN = frozenset(
    (".npy", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".parquet", ".safetensors", ".png")
)
DISK = "watched: size of the run's folder every 200 ms; rlimit fsize"


@dataclass(slots=True)
class _Seen:
    """What a run showed so far."""

    metrics: Mapping[str, float]
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    waited_seconds: float = 0.0
    log_tail: str = ""


class CommandEvaluator:
    """Turns a request and a source into a measurement. One instance serves all slots' threads."""

    def __init__(
        self,
        task: TaskSettings,
        metrics: Mapping[str, MetricSettings],
        rungs: Mapping[str, Rung],
        sandbox: Sandbox,
        workspaces: Path,
        snapshot: FolderCopy,
        environ: Mapping[str, str] | None = None,
        sets: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        """`sets`: by rung, what stands for further names in the command.

        TaskError where the settings name what is not there.
        """
        self.task, self.metrics, self.rungs = task, dict(metrics), dict(rungs)
        self.sandbox, self.workspaces, self.snapshot = sandbox, workspaces, snapshot
        self.seed_source = read_files(snapshot.path, task.paths, task.alone)
        self._sets, self._hidden = dict(sets or {}), task.hidden
        self._held_out = {name: one for name, one in metrics.items() if is_held_out(name)}
        self._host = socket.gethostname()
        self._seed_nodes = nodes_in(task.texts(self.seed_source))
        self._read_only = tuple(shown(one, task.folder) for one in task.read_only)
        if sandbox.name != "bwrap" and any(path != place for path, place in self._read_only):
            raise TaskError(
                f"task.read_only: PATH:PLACE needs bubblewrap, and the box here is {sandbox.name}: give PATH "
                "alone"
            )
        if sandbox.name == "bwrap":  # which can show a thing in more than one place
            self._read_only += also_found_at(task.read_only, BOX, task.folder, JOB)
        given = environment(task, os.environ if environ is None else environ)
        self._python, roots = interpreter(task)
        self._environment = {"PATH": f"{self._python.parent}:{SAFE_PATH}", **given}
        self._read_only += tuple((str(root), str(root)) for root in roots)
        for path, _ in self._read_only:
            for one in self._hidden:
                if Path(os.path.realpath(task.folder / one)).is_relative_to(path):
                    raise TaskError(f"task.read_only: {path} shows runs {one}, the judge's own")

    def evaluate(self, request: RunRequest, source: str, slot: Slot, watch: Watch) -> Measurement:
        """Run the command on one variant. Whatever it does is data; our own fault is `lost`."""
        began, started_at = time.monotonic(), time.time()
        seen, status, reason = _Seen({}), Status.OK, ""
        self.workspaces.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix="run-", dir=self.workspaces)).resolve()
        try:
            if objection := objection_to(source, self.seed_source, self.task):
                raise Ended(Status.REJECTED, objection)
            self._measure(request, source, slot, watch, workspace, seen)
        except Ended as end:
            status, reason = end.status, end.reason
        except OSError as error:  # a full disk, no more processes: not the variant's doing
            status, reason = Status.LOST, f"{type(error).__name__}: {error}"
        finally:
            remove_folder(workspace)
        return Measurement(
            request=request,
            status=status,
            reason=without_figures(self._held_out, reason),
            metrics=seen.metrics if status is Status.OK else {},
            slot=slot.name,
            host=self._host,
            device=slot.device,
            started_at=started_at,
            wall_seconds=time.monotonic() - began,
            cpu_seconds=seen.cpu_seconds,
            train_wall_seconds=seen.seconds,
            facts={
                **self.sandbox.facts,
                "disk": DISK,
                WAITED: f"{seen.waited_seconds:.3f}",
                HOST_CLASS: host_class(slot),
            },
            log_tail=without_figures(self._held_out, seen.log_tail),
        )

    def _measure(
        self,
        request: RunRequest,
        source: str,
        slot: Slot,
        watch: Watch,
        workspace: Path,
        seen: _Seen,
    ) -> None:
        if self.sandbox.drops:
            workspace.chmod(0o711)
        if request.rung.endswith(
            ONE_STEP
        ):  # nothing is built of a command; what it takes, it is given
            seen.metrics = {"added_nodes": self._added_nodes(source)}
            return
        folder = workspace / "job"
        self._furnish(folder, source)
        rung = self.rungs[request.rung]
        for number, line in enumerate(self.task.lines[:-1], 1):
            self._check(f"check {number}", line, rung, request.block, folder, slot, watch)
        text, seconds, peak = self._run(
            self.task.lines[-1], rung, request.block, folder, slot, watch, seen
        )
        said = {name: one for name, one in self.metrics.items() if not is_judged(name)}
        judged = {name: one for name, one in self.metrics.items() if is_judged(name)}
        # Nothing of the run is left that could change its files now.
        figures = read_figures(said, text, folder, OUT)
        if judged:
            room = workspace / "judge"
            self.snapshot.copy(room)
            hand_over(folder / OUT, room / OUT)
            told = self._check("the judge", self.task.judge, rung, request.block, room, slot, watch)
            figures |= read_figures(judged, told, room, OUT)
        if request.purpose not in SEES_TEST:  # else what reads a row could choose by it
            figures = {name: one for name, one in figures.items() if name not in self._held_out}
        seen.metrics = {
            **figures,
            "wall_seconds": seconds,
            "cpu_seconds": seen.cpu_seconds,
            "peak_memory_mb": peak / 2**20,
            "added_nodes": self._added_nodes(source),
        }

    def _furnish(self, folder: Path, source: str) -> None:
        """The copy of the user's folder that a run has, with the variant's files and ours."""
        self.snapshot.copy(folder, self._hidden)
        for name, text in self.task.texts(source).items():
            if name not in self.task.paths:
                make_way(folder, name)
            (folder / name).write_text(text, encoding="utf-8")
        (folder / OUT).mkdir(exist_ok=True)
        if (DRIVERS / self.task.kind).is_dir():
            shutil.copytree(DRIVERS / self.task.kind, folder / DRIVER)
        if self.task.mixes:
            (folder / MIXING).mkdir()
            shutil.copyfile(MIXER, folder / MIXING / MIXER.name)
        if (self.task.folder / VENV).is_dir() and not os.path.lexists(folder / VENV):
            (folder / VENV).symlink_to(self.task.folder / VENV)

    def _added_nodes(self, source: str) -> float:
        return float(max(nodes_in(self.task.texts(source)) - self._seed_nodes, 0))

    def _check(
        self,
        what: str,
        line: str,
        rung: Rung,
        block: int,
        folder: Path,
        slot: Slot,
        watch: Watch,
    ) -> str:
        """What a line beside the run itself prints. Ended: rejected, where its exit code is not 0."""
        began = _Seen({})
        short = replace(rung, wall_seconds=min(CHECK_SECONDS, rung.wall_seconds))
        try:
            return self._run(line, short, block, folder, slot, watch, began)[0]
        except Ended as end:
            if end.status in (Status.LOST, Status.STOPPED):
                raise
            raise Ended(Status.REJECTED, f"{what}: {end.reason}") from None

    def _run(
        self,
        line: str,
        rung: Rung,
        block: int,
        folder: Path,
        slot: Slot,
        watch: Watch,
        seen: _Seen,
    ) -> tuple[str, float, int]:
        """What a line printed, its seconds, and its peak of memory in bytes. Ended where it fails."""
        memory = GpuMemory(slot.gpu_uuids) if slot.gpu_uuid else None
        role = self._start(line, rung, block, folder, slot, watch)
        try:
            watch.started(role.pid, role.started_at)
            while role.exit_code is None:
                role.tick(POLL_SECONDS)
                if memory is not None:
                    memory.sample()
            seconds = time.monotonic() - role.began
            if role.exit_code:
                role.must_live()
        finally:
            seen.seconds = time.monotonic() - role.began
            seen.cpu_seconds, peak = role.cpu_seconds(), role.peak_bytes()
            if memory is not None and memory.peak_bytes:  # what is scarce there
                peak = memory.peak_bytes
            seen.waited_seconds = role.waited_seconds()
            role.close()
            seen.log_tail = role.log.text(LOG_CHARACTERS)
        return role.log.text(OUTPUT_BYTES), seconds, peak

    def _start(
        self, line: str, rung: Rung, block: int, folder: Path, slot: Slot, watch: Watch
    ) -> RoleProcess:
        words = {
            "seed": str(seed_of(block)),
            "out": f"{JOB_PLACE}/{OUT}",
            "python": str(self._python),
            "gpus": str(slot.gpus),
            **{name: str(value) for name, value in self._sets.get(rung.name, {}).items()},
        }
        line = line.format(**{name: shlex.quote(text) for name, text in words.items()})
        view = View(
            code=folder,
            data=(),
            scratch=folder,
            weights=folder,
            writes_weights=False,
            memory_mb=rung.memory_mb,
            threads=len(slot.cpus),
            gpu=slot.gpu,
            gpu_uuid=slot.gpu_uuid,
            other_gpus=slot.other_gpus,
            job=Job(("/bin/sh", "-c", line), self._told(block, folder), self._read_only),
        )
        settings = self.sandbox.settings
        limits = Limits(
            wall_seconds=rung.wall_seconds,
            memory_bytes=rung.memory_mb << 20,
            processes=settings.processes,
            output_bytes=OUTPUT_BYTES,
            log_bytes=OUTPUT_BYTES,
            scratch_bytes=(settings.scratch_mb << 20) + self.snapshot.bytes,
        )
        spec = {"device": slot.device}
        return RoleProcess(self.sandbox.launch(view), spec, limits, watch, slot.cpus)

    def _told(self, block: int, folder: Path) -> dict[str, str]:
        """The variables of a run on a block, whose files lie in a folder."""
        seed = str(seed_of(block))
        given = {name: text.replace("{seed}", seed) for name, text in self._environment.items()}
        ours = [f"{JOB_PLACE}/{MIXING}"] if self.task.mixes else []
        ours += [f"{JOB_PLACE}/{DRIVER}"] if (DRIVERS / self.task.kind).is_dir() else []
        path = ":".join(filter(None, (*ours, given.get("PYTHONPATH", ""))))
        if not self.task.mixes:
            return {**given, "PYTHONPATH": path} if ours else given
        added = (file for one in self.task.may_add for file in folder.glob(one))
        names = dict.fromkeys(file.name for file in (*map(Path, self.task.paths), *added))
        files = ":".join(names)
        return {**given, "PYTHONPATH": path, "EVO_BLOCK": str(block), "EVO_FILES": files}


def make_way(folder: Path, name: str) -> None:
    """The folders for a file that a variant adds to a copy. Ended: rejected where something of it is there.

    What is there stays as it is, and a folder may be a link to anywhere.
    """
    place = folder / name
    for above in reversed(place.relative_to(folder).parents[:-1]):
        if (folder / above).is_symlink() or not (folder / above).is_dir():
            try:
                (folder / above).mkdir()
            except FileExistsError:
                raise Ended(Status.REJECTED, f"{name}: {above} is no folder here") from None
    if os.path.lexists(place):
        raise Ended(Status.REJECTED, f"{name} is there already, and stays as it is")


def hand_over(left: Path, to: Path) -> None:
    """Copy what a run left in {out} to where a judge finds it. Ended: rejected for what cannot be taken.

    Plain files at the top alone, none through a link, none that runs code when it is read.
    """
    to.mkdir(exist_ok=True)
    total = 0
    for entry in sorted(os.scandir(left), key=lambda one: one.name):
        suffix = Path(entry.name).suffix.lower()
        if suffix not in TAKEN:
            continue
        try:
            content = take_bytes(Path(entry.path), MAX_TAKEN_BYTES - total)
            if suffix == ".npy":
                np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, MemoryError) as error:
            raise Ended(Status.REJECTED, f"for the judge {entry.name} {error}") from None
        total += len(content)
        (to / entry.name).write_bytes(content)


def is_judged(name: str) -> bool:
    """Whether a metric is what the judge says."""
    return trust_of(name) is Trust.JUDGED


def nodes_in(texts: Mapping[str, str]) -> int:
    """How large files are together: nodes of their syntax trees, lines of what is no Python."""
    return sum(_size_of(path, text) for path, text in texts.items())


def _size_of(path: str, text: str) -> int:
    try:
        return count_nodes(text) if is_python(path) else len(text.splitlines())
    except SyntaxError:  # a seed that cannot be used, which is told elsewhere
        return len(text.splitlines())


def environment(task: TaskSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a run is given beside the box's own. TaskError for one of ours that is not set."""
    found = {}
    for one in task.environment:
        name, given, text = one.partition("=")
        if not given and name not in environ:
            raise TaskError(f"task.environment: {name} is not set here; {name}=value sets it")
        found[name] = text if given else environ[name]
    return found


def shown(entry: str, folder: Path) -> tuple[str, str]:
    """PATH or PATH:PLACE of `task.read_only`: where it lies, and where a run finds it. TaskError."""
    path, _, place = entry.partition(":")
    real = os.path.realpath(folder / os.path.expanduser(path))
    if not os.path.exists(real):
        raise TaskError(f"task.read_only: {path} does not exist")
    if place and not os.path.isabs(place):
        raise TaskError(f"task.read_only: {entry}: give the place in the box as an absolute path")
    return real, place or real
