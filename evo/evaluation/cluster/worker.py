"""What happens at a worker: it says what it is, keeps what a campaign needs, and measures one run a task.

The supervisor is the one of the local slots, in the worker's own thread: clock, kill, box and audit are where
the run is. A run has a lease, which its coordinator renews; one that is not renewed ends, and so does one whose
coordinator is gone. Calls come in the worker's event loop, tasks in its one thread.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import platform
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

from evo.evaluation.audit import Tolerance
from evo.evaluation.data import Dataset
from evo.evaluation.documents import Text
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.gpu import require_cuda
from evo.evaluation.local_slots import Evaluates
from evo.evaluation.process import Ended
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.sandbox.sandbox import SandboxSettings
from evo.evaluation.slots import Slot, find_slots, host_class
from population.types import CurvePoint, Measurement, Rung, RunRequest, Status, variant_id

MAX_SILENCE_SECONDS = 40.0  # of a coordinator: then its runs end, so that a minute ends them all
RECORD_SECONDS = 0.5  # between two records of a run's progress
MAX_KITS = 2  # evaluators that a worker keeps: a campaign has two, for its start-up and its runs
HARNESS = "harness.py"


def our_version() -> str:
    """Stands for the code that measures: 12 hex digits over the sources of our packages."""
    root, digest = Path(__file__).parents[3], hashlib.sha256()
    for package in ("evo", "population", "operators"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def versions() -> dict[str, str]:
    """What has to be the same at the coordinator and at each worker."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    return {"evotrain": our_version(), "python": platform.python_version(), "torch": torch}


def leave_signals_alone() -> None:
    """In a worker that the coordinator started: Ctrl-C, a terminal's end and `kill` are for the coordinator.

    It lets the runs finish, or ends them; a worker that ended by itself would lose them. A handler, for what a
    run starts would inherit a signal that is ignored.
    """
    for one in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(one, _left_alone)


def _left_alone(number: int, frame: FrameType | None) -> None:
    """Nothing: it is the coordinator's."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """A worker in its own words. `machine` is the same for workers that share cores and GPUs."""

    host: str
    machine: str
    versions: Mapping[str, str]
    slots: tuple[Slot, ...]
    host_class: str
    problem: str = ""


def introduce(device: Literal["cpu", "cuda"]) -> Introduction:
    """What this worker is, and its slots of a kind (`cpu` or `cuda`); `problem` when it has none."""
    slots: tuple[Slot, ...] = ()
    problem = ""
    try:
        slots = find_slots(device=device)
    except ValueError as error:
        problem = str(error)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    host = socket.gethostname()
    kind = host_class(slots[0]) if slots else ""
    return Introduction(host, f"{host} {boot}", versions(), slots, kind, problem)


# -- What a campaign needs at a worker, sent once and known by the digest of its bytes.


class OpensEvaluator(Protocol):
    """Becomes an evaluator at a worker. It is pickled."""

    def open(self, work: Path, slot: Slot) -> Evaluates:
        """The evaluator, working in a folder."""
        ...


@dataclass(frozen=True, slots=True)
class Kit:
    """All that a measurement depends on beside the request, the source and the slot."""

    text: Text
    data_id: str
    rungs: Mapping[str, Rung]
    sandbox: SandboxSettings
    seed_source: str
    files: Mapping[str, bytes]  # the harness, and what else stands beside train.py
    check: Callable[[str, str], str | None]
    unseen_blocks: int
    cold_seconds: Mapping[str, float] = field(default_factory=dict)  # where the seed compiles

    @classmethod
    def of(cls, evaluator: Evaluator) -> Kit:
        """What an evaluator here was made of."""
        files = {path.name: path.read_bytes() for path in evaluator.beside}
        return cls(
            evaluator.dataset.text,
            evaluator.dataset.id,
            evaluator.rungs,
            evaluator.sandbox.settings,
            evaluator.seed_source,
            {HARNESS: evaluator.harness.read_bytes(), **files},
            evaluator.check,
            evaluator.unseen_blocks,
            dict(evaluator.compiled.cold_seconds),
        )

    def open(self, work: Path, slot: Slot) -> Evaluator:
        """An evaluator like the one it is of, working in a folder. ValueError when the text is another."""
        dataset = Dataset.of(self.text, work / "data")
        if dataset.id != self.data_id:
            raise ValueError(f"the text is {dataset.id} here and {self.data_id} at the coordinator")
        hidden = tuple(one for one in dataset.sources if one.exists())
        sandbox = open_sandbox(self.sandbox, hide=hidden, reach=(work,))
        require_cuda(sandbox, [slot])
        beside = work / "beside"
        beside.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (beside / name).write_bytes(content)
        evaluator = Evaluator(
            dataset,
            self.rungs,
            sandbox,
            work / "runs",
            self.seed_source,
            beside / HARNESS,
            beside=tuple(beside / name for name in self.files if name != HARNESS),
            check=self.check,
        )
        evaluator.unseen_blocks = self.unseen_blocks
        evaluator.compiled.cold_seconds |= self.cold_seconds
        return evaluator


_kits: dict[str, bytes] = {}
_evaluators: dict[str, Evaluates] = {}


def packed(kit: OpensEvaluator) -> tuple[str, bytes]:
    """A kit as bytes, and their digest."""
    content = pickle.dumps(kit, protocol=5)
    return hashlib.sha256(content).hexdigest(), content


def receive(digest: str, content: bytes) -> None:
    """Take a kit in. ValueError when it is not what was sent."""
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{digest[:12]} was damaged on its way")
    while len(_kits) >= MAX_KITS:
        del _kits[next(iter(_kits))]
    _kits[digest] = content


def _evaluator(digest: str, slot: Slot, local: Path) -> Evaluates:
    """The evaluator of a kit, made at its first run."""
    if digest not in _evaluators:
        kit: OpensEvaluator = pickle.loads(_kits[digest])
        while len(_evaluators) >= MAX_KITS:
            del _evaluators[next(iter(_evaluators))]
        _evaluators[digest] = kit.open(local / "evotrain" / digest[:12], slot)
    return _evaluators[digest]


# -- Leases: a coordinator says again and again which runs are still wanted.


@dataclass(slots=True)
class _Heard:
    """What a coordinator said last: of each lease up to `upto` why to stop it, "" to go on."""

    upto: int = 0
    leases: Mapping[int, str] = field(default_factory=dict)
    number: int = 0
    at: float = field(default_factory=time.monotonic)


_heard: dict[str, _Heard] = {}


def renew(coordinator: str, number: int, upto: int, leases: Mapping[int, str]) -> None:
    """Of the leases up to `upto`, these are wanted; with a reason, to be stopped early.

    `number` counts what the coordinator said: what overtook it counts.
    """
    before = _heard.get(coordinator)
    if before is None or before.number < number:
        _heard[coordinator] = _Heard(upto, dict(leases), number)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One run for one worker; `lease` counts the coordinator's submissions, so that no two are the same."""

    coordinator: str
    lease: int
    kit: str
    request: RunRequest
    source: str
    slot: Slot
    keep_weights: bool = False
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)  # by rung, set by the seed


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What an assignment came to. `fault`: the traceback where our own code broke."""

    measurement: Measurement
    weights: bytes = b""
    fault: str = ""


class Leased:
    """The watch of a run at a worker: it ends with its lease, and tells its progress twice a second at most."""

    def __init__(
        self, order: Assignment, tell: Callable[[dict[str, Any]], None], heard: _Heard | None = None
    ) -> None:
        self._order, self._tell = order, tell
        self._began = heard or _Heard(0)
        self._points: list[list[float]] = []
        self._told = 0.0

    def started(self, pid: int, started_at: float) -> None:
        """Nothing: a process of another machine is for nobody there to end."""

    def progress(self, point: CurvePoint) -> None:
        """Keep a point, and send all of them twice a second at most."""
        self._points.append([point.progress, point.loss, point.tokens])
        if (now := time.monotonic()) - self._told >= RECORD_SECONDS:
            self._tell({"lease": self._order.lease, "points": self._points})
            self._told, self._points = now, []

    def stopping(self) -> bool:
        """Whether nobody wants this run any more, or nobody is there to want it."""
        heard = _heard.get(self._order.coordinator, self._began)
        said = max(heard.at, self._began.at)
        if time.monotonic() - said > MAX_SILENCE_SECONDS:
            return True
        return self._order.lease <= heard.upto and self._order.lease not in heard.leases

    def hopeless(self) -> str:
        """Why it is to stop early."""
        heard = _heard.get(self._order.coordinator, self._began)
        return heard.leases.get(self._order.lease, "")


def measure(order: Assignment) -> TaskResult:
    """One run, from its start to its measurement: a task. What broke of ours is an outcome, too."""
    from distributed import get_worker

    worker = get_worker()
    tell = functools.partial(worker.log_event, order.coordinator)
    tell({"lease": order.lease, "points": []})  # it begins
    kept: list[bytes] = []
    try:
        if variant_id(order.source) != order.request.variant_id:
            raise ValueError("the source was damaged on its way")
        evaluator = _evaluator(order.kit, order.slot, Path(worker.local_directory))
        if isinstance(evaluator, Evaluator):
            evaluator.tolerances = dict(order.tolerances)
        if order.keep_weights and isinstance(evaluator, Evaluator):
            evaluator.keep_weights = lambda request, path: kept.append(path.read_bytes())
        measured = evaluator.evaluate(order.request, order.source, order.slot, Leased(order, tell))
    except Exception as error:  # noqa: BLE001 - border of the slot: our own fault is a lost attempt
        reason = f"{type(error).__name__}: {error}"
        lost = Measurement(
            order.request,
            Status.LOST,
            reason,
            slot=order.slot.name,
            host=socket.gethostname(),
            started_at=time.time(),
        )
        return TaskResult(lost, fault=traceback.format_exc(limit=-3))
    return TaskResult(measured, kept[0] if kept else b"")


def measure_startup(digest: str, rung: str, slot: Slot) -> tuple[float, float] | str:
    """What starting costs the seed here, or why it does not get that far: a task."""
    from distributed import get_worker

    local = Path(get_worker().local_directory)
    evaluator = _evaluator(digest, slot, local)
    assert isinstance(evaluator, Evaluator)
    try:
        return evaluator.measure_startup(rung, slot)
    except Ended as end:
        return f"{end.status}, {end.reason}"


def look_around(look: Callable[..., Any], *args: Any) -> Any:
    """What `look` says of this worker's folder and machine: a task."""
    from distributed import get_worker

    return look(Path(get_worker().local_directory), *args)
