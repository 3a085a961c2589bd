"""A cluster for tests: a real scheduler and real workers on loopback, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from evo.evaluation.cluster.cluster_slots import ClusterSlots
from evo.evaluation.local_slots import RunEnded, SlotEvent
from evo.evaluation.slots import Slot, Watch
from population.types import (
    CurvePoint,
    Measurement,
    Purpose,
    RunRequest,
    Status,
    variant_id,
)
from tests.campaign.fakes import FakeEvaluator

ROOT = Path(__file__).parents[2]
HANG_SECONDS = 120.0


@dataclass(frozen=True)
class SleepingKit:
    """Becomes an evaluator that sleeps for as many seconds as the source says, watched all the while."""

    def open(self, work: Path, slot: Slot) -> SleepingKit:
        return self

    def evaluate(self, request: RunRequest, source: str, slot: Slot, watch: Watch) -> Measurement:
        began, at = time.monotonic(), time.time()
        seconds = float(source.split()[0])
        status, reason = Status.OK, ""
        while time.monotonic() - began < seconds and status is Status.OK:
            watch.progress(CurvePoint(0.5, 2.0, 100))
            if watch.stopping():
                status, reason = Status.LOST, "stopped on request"
            elif reason := watch.hopeless():
                status = Status.STOPPED
            time.sleep(min(0.02, seconds))
        return Measurement(
            request, status, reason, slot=slot.name, started_at=at, device=slot.device
        )


@dataclass(frozen=True)
class FakeKit:
    """Becomes an evaluator that sleeps instead of training."""

    seconds: float

    def open(self, work: Path, slot: Slot) -> FakeEvaluator:
        return FakeEvaluator(self.seconds)


def asleep(seconds: float, name: str) -> tuple[RunRequest, str]:
    """A run that takes so long."""
    source = f"{seconds} {name}"
    return RunRequest(variant_id(source), "proxy", 0, 0, Purpose.SCREEN), source


@dataclass
class Processes:
    """A scheduler and its workers; `mark` is a word of each of their command lines."""

    folder: Path
    resources: str = "CPU=1"
    host: str = "127.0.0.1"
    mark: str = ""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with socket.socket() as one:
            one.bind((self.host, 0))
            self.port = one.getsockname()[1]
        self.mark = f"evo-{os.getpid()}-{self.port}"

    @property
    def address(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    def scheduler(self) -> None:
        """Start it, or start it again, and wait until it listens."""
        words = ["--host", self.host, "--port", str(self.port), "--no-dashboard"]
        self._start("scheduler", "dask_scheduler", [*words, "--pid-file", f"/tmp/{self.mark}.pid"])
        end = time.monotonic() + HANG_SECONDS
        while True:
            with suppress(OSError), socket.create_connection((self.host, self.port), 1.0):
                return
            assert time.monotonic() < end, (self.folder / "scheduler.log").read_text()[-2000:]
            time.sleep(0.05)

    def worker(self, name: str, threads: int = 1, within: Sequence[str] = ()) -> None:
        """Start one, or start it again; `within`: the words of a command that it is to run in."""
        words = [self.address, "--nthreads", str(threads), "--no-nanny", "--no-dashboard"]
        words += ["--name", f"{self.mark}-{name}", "--local-directory", str(self.folder)]
        words += ["--resources", self.resources] if self.resources else []
        self._start(name, "dask_worker", words, within)

    def _start(
        self, name: str, what: str, words: Sequence[str], within: Sequence[str] = ()
    ) -> None:
        command = [*within, sys.executable, "-m", f"distributed.cli.{what}", *words]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def send(self, name: str, number: int) -> None:
        """A signal, as from outside."""
        self.running[name].send_signal(number)

    def kill(self, name: str) -> None:
        """kill -9, and its end."""
        self.send(name, signal.SIGKILL)
        self.running.pop(name).wait()

    def close(self) -> None:
        for one in self.running.values():
            with suppress(ProcessLookupError):
                one.send_signal(signal.SIGCONT)
                one.kill()
            one.wait()

    def left(self) -> list[str]:
        """Command lines of processes that are still there and carry our mark."""
        lines = (" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"]))
        return [line for line in lines if self.mark in line]


class ClusterDriver:
    """Slots of a cluster, and everything that they told."""

    def __init__(self, slots: ClusterSlots) -> None:
        self.news = threading.Condition()
        self.events: list[SlotEvent] = []
        self.slots = slots
        slots.start(self.wake)

    def wake(self) -> None:
        with self.news:
            self.news.notify_all()

    def until(self, found: Callable[[], bool]) -> None:
        end = time.monotonic() + HANG_SECONDS
        while True:
            self.events += self.slots.results()
            if found():
                return
            assert time.monotonic() < end, self.events
            with self.news:
                self.news.wait(0.05)

    def ended(self) -> list[Measurement]:
        return [one.measurement for one in self.events if isinstance(one, RunEnded)]

    def submit(self, *runs: tuple[RunRequest, str]) -> None:
        self.until(lambda: self.slots.capacity() > 0)
        self.slots.submit(runs)

    def until_ended(self, many: int) -> None:
        self.until(lambda: len(self.ended()) >= many)
