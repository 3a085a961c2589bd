"""Where runs happen: one slot per visible GPU, else one per core that we may use."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, Protocol

from population.types import CurvePoint


@dataclass(frozen=True, slots=True)
class Slot:
    """One GPU or one core. `gpu` is the index of its device node; `cpus` are core numbers."""

    name: str
    device: str  # "cpu" or "cuda"
    cpus: tuple[int, ...]
    gpu: int | None = None
    gpu_uuid: str = ""


def find_slots(
    wanted: int | Literal["auto"] = "auto", device: Literal["auto", "cpu", "cuda"] = "auto"
) -> tuple[Slot, ...]:
    """The slots of this machine, the first `wanted` of them. ValueError: more than there are of a kind."""
    if wanted != "auto" and wanted < 1:
        raise ValueError(f"slots: {wanted} is less than one")
    cores = sorted(os.sched_getaffinity(0))
    slots = () if device == "cpu" else _gpu_slots(cores)
    if device == "cuda" and not slots:
        raise ValueError("slots: no GPU can be used here")
    slots = slots or tuple(Slot(f"cpu{core}", "cpu", (core,)) for core in cores)
    if wanted == "auto":
        return slots
    if wanted > len(slots):
        kind = "GPUs" if slots[0].device == "cuda" else "cores"
        raise ValueError(f"slots: {wanted} asked, but {len(slots)} {kind} can be used")
    return slots[:wanted]


def _gpu_slots(cores: list[int]) -> tuple[Slot, ...]:
    """One slot per GPU that nvidia-smi lists and CUDA_VISIBLE_DEVICES allows, cores shared out."""
    found = _gpus()
    share = max(len(cores) // max(len(found), 1), 1)
    return tuple(
        Slot(
            name=f"gpu{index}",
            device="cuda",
            cpus=tuple(cores[(n * share) % len(cores) :][:share]),
            gpu=index,
            gpu_uuid=uuid,
        )
        for n, (index, uuid) in enumerate(found)
    )


def _gpus() -> list[tuple[int, str]]:
    listed = _told(["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"])
    rows = [line.split(",") for line in listed.splitlines() if "," in line]
    gpus = [(int(index), uuid.strip()) for index, uuid in rows]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    names = {name.strip() for name in visible.split(",")}
    return [gpu for gpu in gpus if str(gpu[0]) in names or gpu[1] in names]


def host_class(slot: Slot) -> str:
    """What decides how fast and how exact a slot computes, in words: device, driver, torch."""
    try:
        torch = f"torch {version('torch')}"
    except PackageNotFoundError:
        torch = "no torch"
    if slot.device == "cpu":
        return f"{_processor()}, {torch}"
    query = ["nvidia-smi", f"--id={slot.gpu_uuid}", "--query-gpu=name,driver_version"]
    name, _, driver = _told([*query, "--format=csv,noheader"]).strip().partition(",")
    return f"{name.strip() or 'a GPU'}, driver {driver.strip() or 'unknown'}, {torch}"


def _processor() -> str:
    """The model of this machine's processor; where /proc names none, its architecture."""
    with contextlib.suppress(OSError):
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.machine()


def _told(command: list[str]) -> str:
    """What a program prints; "" where it is not there or fails."""
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


# -- How an evaluation speaks to its caller, and whether it has to end early.


class Watch(Protocol):
    """How an evaluation speaks to its caller."""

    def started(self, pid: int, started_at: float) -> None:
        """A role's outer process exists; `started_at` in seconds since the epoch."""

    def progress(self, point: CurvePoint) -> None:
        """The training role told a loss."""

    def stopping(self) -> bool:
        """Whether the run must end now."""
        ...

    def hopeless(self) -> str:
        """Why training is stopped early; "" while it is not."""
        ...


class Unwatched:
    """A Watch that listens to nothing and never stops a run."""

    def started(self, pid: int, started_at: float) -> None:
        """Nothing."""

    def progress(self, point: CurvePoint) -> None:
        """Nothing."""

    def hopeless(self) -> str:
        """Never."""
        return ""

    def stopping(self) -> bool:
        """Never."""
        return False
