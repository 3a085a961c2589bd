"""Control groups of one role: most processes and memory, held by the kernel, and CPU time (v1 and v2).

Used only where a group is ours to divide: we stand at the root of what is mounted (a container, a
machine of its own), or the service manager marked our group as delegated. Elsewhere they belong to
someone else, and rlimits and the watchdog do what they can.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PREFIX = "evotrain"
NEEDED = ("pids", "memory", "cpuacct")
V2_ALWAYS = "cpuacct"  # every v2 group counts CPU time, whatever its controllers
END_SECONDS = 5.0
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Parents:
    """The folders that groups of ours are made in, by controller; the same one for all on v2."""

    folders: tuple[tuple[str, Path], ...] = ()

    @property
    def controllers(self) -> tuple[str, ...]:
        """What can be held."""
        return tuple(name for name, _ in self.folders)


class Group:
    """One role's group in every hierarchy. Nothing is held when there is none."""

    def __init__(self, parents: Parents, processes: int, memory_bytes: int) -> None:
        name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._folders = {one: folder / name for one, folder in parents.folders}
        try:
            for folder in dict.fromkeys(self._folders.values()):
                folder.mkdir()
            self._limit(processes, memory_bytes)
        except OSError:
            self._remove()
            raise

    def __bool__(self) -> bool:
        return bool(self._folders)

    def _limit(self, processes: int, memory_bytes: int) -> None:
        if folder := self._folders.get("pids"):
            (folder / "pids.max").write_text(str(processes), encoding="utf-8")
        if folder := self._folders.get("memory"):
            v1 = (folder / "memory.limit_in_bytes").exists()
            wanted = {"memory.limit_in_bytes" if v1 else "memory.max": memory_bytes}
            swap = {"memory.memsw.limit_in_bytes": memory_bytes} if v1 else {"memory.swap.max": 0}
            for file, value in (wanted | swap).items():
                if file in wanted or (folder / file).exists():
                    (folder / file).write_text(str(value), encoding="utf-8")

    def add(self, pid: int) -> None:
        """Move a process in; what it starts from now on is in, too."""
        for folder in self._unique():
            (folder / "cgroup.procs").write_text(str(pid), encoding="utf-8")

    def cpu_seconds(self) -> float | None:
        """What everything that was ever in it used; None where no group counts."""
        folder = self._folders.get("cpuacct")
        if folder is None:
            return None
        with contextlib.suppress(OSError):
            return int((folder / "cpuacct.usage").read_text(encoding="utf-8")) / 1e9
        with contextlib.suppress(OSError, ValueError, IndexError):
            counts = (folder / "cpu.stat").read_text(encoding="utf-8")
            return int(counts.split("usage_usec", 1)[1].split(None, 1)[0]) / 1e6
        return None

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended a process of it because memory ran out."""
        folder = self._folders.get("memory")
        for file in ("memory.events", "memory.oom_control") if folder else ():
            with contextlib.suppress(OSError):
                text = (Path(str(folder)) / file).read_text(encoding="utf-8")
                return any(map(int, re.findall(r"^oom_kill (\d+)", text, re.M)))
        return False

    def close(self) -> None:
        """End every process still in it, and remove it."""
        end, pause = time.monotonic() + END_SECONDS, 0.001
        while (left := self._members()) and time.monotonic() < end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        self._remove()

    def _members(self) -> set[int]:
        found: set[int] = set()
        for folder in self._unique():
            with contextlib.suppress(OSError):
                found |= set(
                    map(int, (folder / "cgroup.procs").read_text(encoding="utf-8").split())
                )
        return found

    def _remove(self) -> None:
        end = time.monotonic() + END_SECONDS
        for folder in self._unique():
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    pass
                except OSError:  # the kernel may need a moment after the last process
                    if time.monotonic() < end:
                        time.sleep(0.005)
                        continue
                break

    def _unique(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(self._folders.values()))


@functools.cache
def parents() -> Parents:
    """Where groups can be made here, found by making one and putting limits on it (once a process)."""
    found = find_parents(
        Path("/proc/self/cgroup").read_text(encoding="utf-8"),
        Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"),
    )
    usable = tuple(pair for pair in found.folders if _works(Parents((pair,))))
    for folder in dict.fromkeys(folder for _, folder in usable):
        _clear_stale(folder)
    return Parents(usable)


def find_parents(groups: str, mounts: str) -> Parents:
    """By controller, our own group's folder where it is ours to divide (texts as in /proc/self)."""
    own: dict[str, str] = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(",") if controllers else ("",), path)
    found: dict[str, Path] = {}
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        root, point = fields.split()[3:5]
        if kind not in ("cgroup", "cgroup2"):
            continue
        names = [""] if kind == "cgroup2" else [n for n in NEEDED if n in options.split(",")]
        for name in names:
            folder = _ours(Path(point), root, own.get(name))
            if folder and name:
                found[name] = folder
            elif folder:
                found |= {each: folder for each in _v2_controllers(folder) if each not in found}
    return Parents(tuple((name, found[name]) for name in NEEDED if name in found))


def _ours(point: Path, root: str, path: str | None) -> Path | None:
    if path is None or not Path(path).is_relative_to(root):
        return None
    folder = point / Path(path).relative_to(root)
    if folder == point:
        return folder
    for mark in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, mark) == b"1":
                return folder
    return None


def _v2_controllers(folder: Path) -> tuple[str, ...]:
    """What a group made in this one would have; asks for more where no process is in the way."""
    control = folder / "cgroup.subtree_control"
    try:
        there = (folder / "cgroup.controllers").read_text(encoding="utf-8").split()
        for name in NEEDED:
            if name in there and name not in control.read_text(encoding="utf-8").split():
                with contextlib.suppress(OSError):  # processes live in this very group
                    control.write_text(f"+{name}", encoding="utf-8")
        on = control.read_text(encoding="utf-8").split()
    except OSError:
        return ()
    return tuple(name for name in NEEDED if name in on or name == V2_ALWAYS)


def _works(parents: Parents) -> bool:
    try:
        group = Group(parents, 16, 64 << 20)
    except OSError:
        return False
    counts = "cpuacct" not in parents.controllers or group.cpu_seconds() is not None
    group.close()
    return counts


def _clear_stale(folder: Path) -> None:
    """Remove groups of processes of ours that are gone; one that is not empty stays."""
    for old in folder.glob(f"{PREFIX}-*-*"):
        owner = old.name.split("-")[1]
        if not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                old.rmdir()
