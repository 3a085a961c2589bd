"""What a box shows of /proc: figures of the machine that never change, and nothing of any process.

How much memory is free, how many names the kernel keeps, what the disks did: what one role does shows there
for all. A process's own entries tell as much: which pages of a file that roles share were used, how many
sessions the machine has begun. So a role finds plain files that stand still; only CUDA needs the real thing,
covered where it tells of the machine.
"""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path

PROC = Path("/proc")
SHOWN = {
    "self",
    "thread-self",
    "mounts",
    "net",
    "cpuinfo",
    "filesystems",
    "version",
    "devices",
    "sys",
}
OF_GPU = {"driver", "modules"}
PLAIN = ("cpuinfo", "filesystems", "version", "devices")
SETTINGS = (
    "kernel/osrelease",
    "kernel/ostype",
    "kernel/version",
    "kernel/pid_max",
    "kernel/threads-max",
    "kernel/cap_last_cap",
    "vm/overcommit_memory",
    "vm/max_map_count",
)


def proc_view(gpu: bool) -> list[str]:
    """The bubblewrap words for /proc; where they say `<PATH>`, the number of a descriptor goes."""
    if gpu:
        return _covered()
    argv = ["--tmpfs", "/proc"]
    for path in standing_still():
        argv += ("--perms", "0444", "--file", f"<{path}>", path)
    return [*argv, "--remount-ro", "/proc"]


def _covered() -> list[str]:
    """The kernel's own, with the role's processes; what tells of the machine is covered."""
    argv: list[str] = ["--proc", "/proc", "--tmpfs", "/proc/sys"]
    for name, is_folder in _host():
        path = f"/proc/{name}"
        if name in SHOWN | OF_GPU or path in standing_still():
            continue
        argv += (
            ("--tmpfs", path, "--remount-ro", path)
            if is_folder
            else ("--ro-bind", "/dev/null", path)
        )
    for path in standing_still():
        argv += ("--ro-bind-data", f"<{path}>", path)
    # The memory of the box's first process could be written.
    return [*argv, "--remount-ro", "/proc/sys", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1"]


@functools.cache
def standing_still() -> dict[str, bytes]:
    """Files of /proc as a role finds them: the whole memory, no process's time, settings as they are."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    whole = pages * page >> 10
    figures = {
        "MemTotal": whole,
        "MemFree": whole,
        "MemAvailable": whole,
        "Buffers": 0,
        "Cached": 0,
    }
    figures |= {"Active": 0, "Inactive": 0, "Shmem": 0, "Slab": 0, "SwapTotal": 0, "SwapFree": 0}
    memory = "".join(f"{f'{name}:':<15} {value:>8} kB\n" for name, value in figures.items())
    cores = ["cpu ", *(f"cpu{number}" for number in range(os.cpu_count() or 1))]
    times = "".join(f"{core} 0 0 0 0 0 0 0 0 0 0\n" for core in cores)
    found = {
        "/proc/meminfo": memory.encode(),
        "/proc/stat": f"{times}ctxt 0\nbtime 0\nprocesses 1\nprocs_running 1\n".encode(),
    }
    for path in (*(PROC / name for name in PLAIN), *(PROC / "sys" / name for name in SETTINGS)):
        if path.exists():
            found[str(path)] = path.read_bytes()
    return found


@functools.cache
def _host() -> tuple[tuple[str, bool], ...]:
    names = sorted(name for name in os.listdir(PROC) if not name.isdigit())
    return tuple((name, stat.S_ISDIR(os.lstat(PROC / name).st_mode)) for name in names)
