"""What a box shows of /proc: its own processes, and of the machine only what never changes.

How much memory is free, how many names the kernel keeps, what the disks did: what one role does shows there
for all. Beside its processes a role finds the kind of processor, and a few figures that stand still.
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


def covers(gpu: bool) -> list[str]:
    """The bubblewrap words that cover the rest; where they say `<PATH>`, the number of a descriptor goes."""
    argv: list[str] = ["--tmpfs", "/proc/sys"]
    for name, is_folder in _host():
        path = f"/proc/{name}"
        if name in SHOWN or (gpu and name in OF_GPU) or path in standing_still():
            continue
        argv += (
            ("--tmpfs", path, "--remount-ro", path)
            if is_folder
            else ("--ro-bind", "/dev/null", path)
        )
    for path in standing_still():
        argv += ("--ro-bind-data", f"<{path}>", path)
    return [*argv, "--remount-ro", "/proc/sys"]


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
    for name in SETTINGS:
        path = PROC / "sys" / name
        if path.exists():
            found[str(path)] = path.read_bytes()
    return found


@functools.cache
def _host() -> tuple[tuple[str, bool], ...]:
    names = sorted(name for name in os.listdir(PROC) if not name.isdigit())
    return tuple((name, stat.S_ISDIR(os.lstat(PROC / name).st_mode)) for name in names)
