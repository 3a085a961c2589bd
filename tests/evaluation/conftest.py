"""A dataset, boxes, and one call that evaluates a source and checks that nothing is left of it."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from evo.evaluation import process
from evo.evaluation.data import Dataset, DataSettings, prepare
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.sandbox.sandbox import Sandbox, SandboxSettings
from evo.evaluation.slots import Slot, find_slots
from population.metrics import METRICS
from population.types import (
    Clock,
    CurvePoint,
    Measurement,
    Purpose,
    Rung,
    RunRequest,
    Status,
    variant_id,
)

STANDINS = Path(__file__).parent.parent / "standins"
RUNG = Rung(
    name="proxy",
    depth=1,
    budget=0.15,
    clock=Clock.CPU_SECONDS,
    context=64,
    rows=64,
    startup_seconds=0.2,
    grace_seconds=30.0,  # what is to end by the clock has less
    memory_mb=2000,
    wall_seconds=120.0,  # for a machine that has eight times as much to do
)
TIGHT_WALL_SECONDS = 60.0


class SmallSandbox(SandboxSettings):
    """One whose scratch space is soon full."""

    scratch_mb: ClassVar[int] = 32


@dataclass
class FakeWatch:
    """A watch that takes notes, and stops a run once it was told so often."""

    stop_after_points: int | None = None
    processes: list[tuple[int, float]] = field(default_factory=list)
    points: list[CurvePoint] = field(default_factory=list)

    def started(self, pid: int, started_at: float) -> None:
        self.processes.append((pid, started_at))

    def progress(self, point: CurvePoint) -> None:
        self.points.append(point)

    def hopeless(self) -> str:
        """Never."""
        return ""

    def stopping(self) -> bool:
        return self.stop_after_points is not None and len(self.points) >= self.stop_after_points


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(DataSettings(), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def slot() -> Slot:
    """A slot of this process: tests that run beside each other do not share a core."""
    slots, worker = find_slots(), os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return slots[-1 - int(worker.removeprefix("gw")) % len(slots)]


@pytest.fixture(scope="session")
def quick() -> str:
    """The source of the stand-in trainer."""
    return (STANDINS / "quick.py").read_text()


@pytest.fixture
def box(dataset: Dataset, pytestconfig: pytest.Config) -> Sandbox:
    """The box that `--box` asks for."""
    return open_sandbox(SmallSandbox(mode=pytestconfig.getoption("box")), dataset.sources)


@pytest.fixture
def no_box() -> Sandbox:
    return open_sandbox(SandboxSettings(mode="none"))


@pytest.fixture
def sandbox(rung: Literal["bwrap", "landlock", "none"], dataset: Dataset) -> Sandbox:
    return open_sandbox(SmallSandbox(mode=rung), dataset.sources)


Evaluate = Callable[..., Measurement]


@pytest.fixture
def evaluate(
    dataset: Dataset, slot: Slot, quick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Evaluate]:
    """evaluate(source, sandbox, fresh_roles=..., watch=..., block=..., purpose=..., **rung fields)."""
    workspaces = tmp_path / "workspaces"

    def run(
        source: str,
        sandbox: Sandbox,
        fresh_roles: bool = False,
        watch: FakeWatch | None = None,
        block: int = 0,
        purpose: Purpose = Purpose.SCREEN,
        tries: int = 3,
        compiled_ahead: float = 0.0,
        **changes: object,
    ) -> Measurement:
        rung = replace(RUNG, **changes)  # type: ignore[arg-type]
        if (
            rung.wall_seconds < TIGHT_WALL_SECONDS
        ):  # about the variant: no test beside it excuses it
            monkeypatch.setattr(process, "HELD_UP_SHARE", math.inf)
        evaluator = Evaluator(
            dataset, {"proxy": rung}, sandbox, workspaces, quick, fresh_roles=fresh_roles
        )
        if (
            compiled_ahead
        ):  # seconds that the first steps of the seed, which compile, are said to cost
            evaluator.compiled.cold_seconds["proxy"] = compiled_ahead
        watch = watch or FakeWatch()
        gc.collect()  # what earlier tests left to the collector is not this run's doing
        before = len(os.listdir("/proc/self/fd"))
        request = RunRequest(variant_id(source), "proxy", block, 0, purpose)
        measurement = evaluator.evaluate(request, source, slot, watch)
        for _ in range(
            tries - 1
        ):  # a cold or crowded machine: lost, and run again as a campaign would
            if measurement.status is Status.LOST and "fetched" in measurement.reason:
                measurement = evaluator.evaluate(request, source, slot, watch)
        assert len(os.listdir("/proc/self/fd")) <= before, "a descriptor is left open"
        assert measurement.metrics.keys() <= METRICS.keys(), (
            "each is a row of population/metrics.py"
        )
        for pid, _ in watch.processes:
            assert not Path(f"/proc/{pid}").exists(), "a process is left"
        return measurement

    yield run
    assert not workspaces.exists() or not list(workspaces.iterdir()), "a workspace is left"


def alive(word: str) -> list[int]:
    """The processes of this machine whose command line holds a word."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line:
                found.append(int(name))
    return found
