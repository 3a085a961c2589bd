"""Where runs happen: one slot per GPU, or few, that can be used, else one per core that we may use."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, Protocol

from population.types import CurvePoint


@dataclass(frozen=True, slots=True)
class Slot:
    """Some GPUs or one core. `gpu` is the number of its device node, `other_gpus` those of further ones.

    `cpus` are core numbers; `gpu_uuid` as CUDA_VISIBLE_DEVICES takes it: several with commas between them.
    """

    name: str
    device: str  # "cpu" or "cuda"
    cpus: tuple[int, ...]
    gpu: int | None = None
    gpu_uuid: str = ""
    other_gpus: tuple[int, ...] = ()

    @property
    def gpus(self) -> int:
        """How many it has; 0 on cores."""
        return 0 if self.gpu is None else 1 + len(self.other_gpus)

    @property
    def gpu_uuids(self) -> tuple[str, ...]:
        """Of each of its GPUs."""
        return tuple(filter(None, self.gpu_uuid.split(",")))


@dataclass(frozen=True, slots=True)
class SlotSettings:
    """What is a slot on this machine, where their number alone does not say it.

    `count`: how many. `gpus_per_slot`: GPUs that a run has together. `cores`: `physical` is one slot for all
    threads of a core.
    """

    count: int | Literal["auto"] = "auto"
    gpus_per_slot: int = 1
    cores: Literal["each", "physical"] = "each"


Wanted = int | Literal["auto"] | SlotSettings


@dataclass(frozen=True, slots=True)
class Survey:
    """The slots of this machine, and what gives none: each a name with why not."""

    slots: tuple[Slot, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def find_slots(
    wanted: Wanted = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    memory_mb: int | None = None,
) -> tuple[Slot, ...]:
    """The slots of this machine, the first `wanted` of them. ValueError: more than there are of a kind.

    `auto` takes no more of the cores than a control group's quota allows, nor than there is memory for, with
    `memory_mb` a run. ValueError, too, where CUDA_VISIBLE_DEVICES names GPUs and none of them is found.
    """
    settings = wanted if isinstance(wanted, SlotSettings) else SlotSettings(wanted)
    count = settings.count
    if count != "auto" and count < 1:
        raise ValueError(f"slots: {count} is less than one")
    survey = survey_slots(device, memory_mb if count == "auto" else None, count == "auto", settings)
    slots = survey.slots
    if count == "auto":
        return slots
    if count > len(slots):
        kind = "GPUs" if slots[0].device == "cuda" else "cores"
        if settings.gpus_per_slot > 1:
            kind = f"slots of {settings.gpus_per_slot} GPUs"
        raise ValueError(f"slots: {count} asked, but {len(slots)} {kind} can be used")
    return slots[:count]


def survey_slots(
    device: Literal["auto", "cpu", "cuda"] = "auto",
    memory_mb: int | None = None,
    within_quota: bool = True,
    settings: SlotSettings = SlotSettings(),
) -> Survey:
    """One slot for each `gpus_per_slot` GPUs that can be used, else one a core; and what was left out.

    ValueError as `find_slots` says, and where several GPUs a slot are asked and there are not as many.
    """
    cores = sorted(os.sched_getaffinity(0))
    each = settings.gpus_per_slot
    found, left_out = ((), ()) if device == "cpu" else _survey_gpus(cores, each)
    if found:
        return Survey(found, left_out)
    if each > 1:
        why = "; ".join(f"{name}: {why}" for name, why in left_out) or "there is none"
        raise ValueError(f"slots: gpus_per_slot: {each}, and no GPU can be used here ({why})")
    sick = [one for one in left_out if one[0] == "nvidia-smi"]
    if device == "cuda" or (sick and any(DRIVER.glob("*"))):
        why = "; ".join(f"{name}: {why}" for name, why in left_out)
        raise ValueError(f"slots: no GPU can be used here{f' ({why})' if why else ''}")
    if settings.cores == "physical":
        cores, second = _first_threads(cores, _siblings)
        left_out = (*left_out, *second)
    slots = tuple(Slot(f"cpu{core}", "cpu", (core,)) for core in cores)
    limits = [(len(slots), ""), *_limits_of_cores(memory_mb)]
    most, why = min(limits) if within_quota else (len(slots), "")
    most = max(most, 1)
    over = tuple((one.name, why) for one in slots[most:])
    return Survey(slots[:most], (*left_out, *over))


TOPOLOGY = Path("/sys/devices/system/cpu")


def _siblings(core: int) -> set[int]:
    """The threads of the physical core that this one belongs to; itself alone where the kernel names none."""
    found = {core}
    with contextlib.suppress(OSError, ValueError):
        path = TOPOLOGY / f"cpu{core}/topology/thread_siblings_list"
        for part in path.read_text(encoding="utf-8").strip().split(","):
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    return found


def _first_threads(
    cores: list[int], siblings: Callable[[int], set[int]]
) -> tuple[list[int], list[tuple[str, str]]]:
    """Of each physical core the first thread that is ours, and the others with why they are no slots.

    They stay idle: a run has one thread, and two on one core make each other's seconds longer.
    """
    firsts: list[int] = []
    left_out = []
    for core in cores:
        first = next((one for one in firsts if core in siblings(one)), None)
        if first is not None:
            left_out.append((f"cpu{core}", f"a second thread of the core of cpu{first}"))
        else:
            firsts.append(core)
    return firsts, left_out


# -- GPUs: what nvidia-smi lists, and what CUDA_VISIBLE_DEVICES makes of it.

VISIBLE = "CUDA_VISIBLE_DEVICES"
NONE = ("", "-1", "NoDevFiles")  # what begins the variable where no GPU is to be used
DRIVER = Path("/proc/driver/nvidia/gpus")
MIG_LINE = re.compile(r"\s*MIG .*\(UUID: (MIG-\S+)\)")
GPU_LINE = re.compile(r"GPU (\d+): .*\(UUID: (GPU-\S+)\)")


@dataclass(frozen=True, slots=True)
class _Gpu:
    """One GPU, or an instance of one: as nvidia-smi counts, and by its UUID."""

    index: int
    uuid: str
    of: str = ""  # the UUID of the whole GPU

    def __str__(self) -> str:
        return f"{self.index}" + (f"-{self.uuid[4:12]}" if self.of else "")

    def is_called(self, name: str) -> bool:
        """Whether an entry of CUDA_VISIBLE_DEVICES means it: its index, or the beginning of its UUID."""
        if name.isdigit():
            return not self.of and int(name) == self.index
        return len(name) > len("GPU-") and self.uuid.startswith(name)


def _survey_gpus(
    cores: list[int], each: int = 1
) -> tuple[tuple[Slot, ...], tuple[tuple[str, str], ...]]:
    """Slots of GPUs, cores shared out among them, and GPUs left out. ValueError as `find_slots` says."""
    variable = os.environ.get(VISIBLE)
    names = None if variable is None else [one.strip() for one in variable.split(",")]
    if names is not None and names[0] in NONE:
        return (), ((VISIBLE, "says that no GPU is to be used"),)
    listed, left_out = _list_gpus(with_parts=names is not None and "MIG-" in str(variable))
    found, unknown = _chosen(listed, names)
    if names is not None and not found:
        there = ", ".join(f"{one.index} ({one.uuid})" for one in listed) or "none"
        sick = "".join(f"; {name}: {why}" for name, why in left_out)
        raise ValueError(
            f"slots: {VISIBLE}={variable} names no GPU that can be used (found: {there}{sick}); mend it, or "
            f"unset it, or say {VISIBLE}=-1 to train on cores"
        )
    left_out += [(one, f"{VISIBLE} names it, and it is not there") for one in unknown]
    left_out += [
        (f"gpu{one.index}", f"not in {VISIBLE}")
        for one in listed
        if one not in found and not one.of
    ]
    groups, over = _grouped(found, each)
    left_out += over
    share = max(len(cores) // max(len(groups), 1), 1)
    minors = _minors()
    slots = []
    for n, group in enumerate(groups):
        nodes = [minors.get(one.of or one.uuid, one.index) for one in group]
        slots.append(
            Slot(
                name="gpu" + "+".join(map(str, group)),
                device="cuda",
                cpus=tuple(cores[(n * share) % len(cores) :][:share]),
                gpu=nodes[0],
                gpu_uuid=",".join(one.uuid for one in group),
                other_gpus=tuple(nodes[1:]),
            )
        )
    return tuple(slots), tuple(left_out)


def _grouped(found: list[_Gpu], each: int) -> tuple[list[list[_Gpu]], list[tuple[str, str]]]:
    """The GPUs of each slot, neighbours in their order, and those that are too few for another one.

    ValueError where they are too few for a first one, or where one is an instance: CUDA takes one of those.
    """
    if each > 1 and any(one.of for one in found):
        raise ValueError(
            f"slots: gpus_per_slot: {each}, and a process can use one MIG instance alone"
        )
    whole = len(found) - len(found) % each
    if found and not whole:
        raise ValueError(f"slots: gpus_per_slot: {each}, but {len(found)} GPUs can be used")
    groups = [found[at : at + each] for at in range(0, whole, each)]
    return groups, [(f"gpu{one}", f"a slot has {each} GPUs") for one in found[whole:]]


def _chosen(listed: list[_Gpu], names: list[str] | None) -> tuple[list[_Gpu], list[str]]:
    """The GPUs in the order of the variable, and the entry that ends it early; as CUDA reads it."""
    if names is None:
        return listed, []
    found: list[_Gpu] = []
    for name in names:
        meant = [one for one in listed if one.is_called(name)]
        if name in NONE:
            return found, []
        if len(meant) != 1 or meant[0] in found:
            return found, [name]
        found += meant
    return found, []


def _list_gpus(with_parts: bool) -> tuple[list[_Gpu], list[tuple[str, str]]]:
    """What nvidia-smi lists; a line that is no GPU is told of, and the others are taken."""
    listed, gpus, left_out = "", [], []
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        ran = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
            check=False,
        )
        listed = ran.stdout
        if ran.returncode and not listed.strip():
            listed = ran.stderr
    for line in filter(str.strip, listed.splitlines()):
        index, _, uuid = (one.strip() for one in line.partition(","))
        if index.isdigit() and uuid:
            gpus.append(_Gpu(int(index), uuid))
        else:
            left_out.append(("nvidia-smi", line.strip()))
    whole: _Gpu | None = None
    for line in _told(["nvidia-smi", "-L"]).splitlines() if with_parts else ():
        if one := GPU_LINE.match(line):
            whole = _Gpu(int(one[1]), one[2])
        elif (one := MIG_LINE.match(line)) and whole is not None:
            gpus.append(_Gpu(whole.index, one[1], whole.uuid))
    return gpus, left_out


def _minors() -> dict[str, int]:
    """The number of each GPU's device node by its UUID: in a container it need not be the index."""
    found = {}
    for path in DRIVER.glob("*/information"):
        with contextlib.suppress(OSError, KeyError, ValueError):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            told = {key.strip(): one.strip() for key, _, one in (x.partition(":") for x in lines)}
            found[told["GPU UUID"]] = int(told["Device Minor"])
    return found


# -- How many cores are ours: a control group may allow less than the affinity says.

CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def _limits_of_cores(memory_mb: int | None) -> list[tuple[int, str]]:
    """How many slots each limit allows, and the limit in words for those beyond it."""
    found = [(len(os.sched_getaffinity(0)), "")]
    if (quota := cpu_quota()) is not None:
        found.append((int(quota), f"the control group allows {quota:g} CPUs"))
    if memory_mb:
        memory = memory_limit() >> 20
        found.append(
            (memory // memory_mb, f"{memory:,} MB of memory are there, {memory_mb:,} a run")
        )
    return found


def cpu_quota() -> float | None:
    """How many CPUs the control groups above us allow, v1 or v2; None without a limit."""
    quotas = []
    for folder in _groups("cpu"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if (v2 := folder / "cpu.max").exists():
                quota, period = v2.read_text(encoding="utf-8").split()[:2]
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
                period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
            if quota != "max" and int(quota) > 0:
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_limit() -> int:
    """Bytes of memory that are ours: the machine's, or what the control groups above us allow."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                found.append(int((folder / name).read_text(encoding="utf-8")))
    return min(found)


def _groups(controller: str) -> list[Path]:
    """The folders of our control groups, up to the root; in a container the root is all that is seen."""
    try:
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for _, names, path in (one.split(":", 2) for one in lines if one.count(":") >= 2):
        if names and controller not in names.split(","):
            continue
        for root in (CGROUPS / names, CGROUPS / controller) if names else (CGROUPS,):
            group = root / path.lstrip("/")
            found += [one for one in (group, *group.parents) if one.is_relative_to(root)]
    return list(dict.fromkeys(found))


@functools.cache
def host_class(slot: Slot) -> str:
    """What decides how fast and how exact a slot computes, in words: device, driver, torch."""
    try:
        torch = f"torch {version('torch')}"
    except PackageNotFoundError:
        torch = "no torch"
    if slot.device == "cpu":
        return f"{_processor()}, {torch}"
    query = ["nvidia-smi", f"--id={slot.gpu_uuid}", "--query-gpu=name,driver_version"]
    told = _told([*query, "--format=csv,noheader"]).strip()
    name, _, driver = told.partition("\n")[0].partition(",")
    many = f"{len(slot.gpu_uuids)} x " if slot.other_gpus else ""
    return f"{many}{name.strip() or 'a GPU'}, driver {driver.strip() or 'unknown'}, {torch}"


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
