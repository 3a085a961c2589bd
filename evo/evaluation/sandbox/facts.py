"""What a box holds, in words: each promise `enforced`, `watched` or `none`, and by what."""

from __future__ import annotations

import os
from pathlib import Path

from evo.evaluation.sandbox import launcher
from evo.evaluation.sandbox.cgroups import parents
from evo.evaluation.sandbox.sandbox import Sandbox
from evo.evaluation.sandbox.seccomp import supported

NAMES = (
    "fs_write",
    "fs_read",
    "files",
    "metadata",
    "network",
    "signals",
    "pids",
    "orphans",
    "memory",
    "disk",
    "cpu",
    "gpu",
)
COUNTED = "watched: counted every 50 ms"
MEASURED = (
    "watched: resident memory every 50 ms, memory files and what the kernel holds every 200 ms; "
    "rlimit data"
)
TIMED = "CPU time of the process tree watched"
COUNTED_TIME = "CPU time counted by cgroup"
SHARED = "none: the host's, where one run leaves marks for the next"
_BWRAP = {
    "files": SHARED,
    "fs_write": "enforced: mount namespace",
    "fs_read": "enforced: mount namespace",
    "metadata": "enforced: mount namespace",
    "network": "enforced: network namespace",
    "signals": "enforced: pid namespace",
    "orphans": "enforced: pid namespace and keeper process",
    "disk": "enforced: tmpfs size",
    "gpu": "enforced: device nodes (not measured)",
}
_LANDLOCK = {
    "files": SHARED,
    "fs_write": "enforced: landlock",
    "fs_read": "enforced: landlock",
    "metadata": "none: sizes and times can be seen; changing them is enforced against by seccomp",
    "network": "enforced: seccomp",
    "signals": "enforced: landlock",
    "orphans": "enforced: keeper process (sub-reaper)",
    "disk": "watched: size of the scratch folder every 200 ms; rlimit fsize",
    "gpu": "enforced: landlock on device nodes (not measured)",
}
_NONE = dict.fromkeys(NAMES, "none") | {
    "orphans": "watched: keeper process (sub-reaper) and environment mark",
    "disk": "watched: size of the scratch folder every 200 ms; rlimit fsize",
}


def facts_of(sandbox: Sandbox, outcome: dict[str, bool]) -> dict[str, str]:
    """The facts of a box that held, with what its probe saw; NAMES, `sandbox`, and `user` when root."""
    held = {"bwrap": _BWRAP, "landlock": _LANDLOCK, "none": _NONE}[sandbox.name]
    facts = {name: held.get(name, "none") for name in NAMES}
    if sandbox.name == "landlock" and launcher.landlock_abi() < launcher.SCOPED_SIGNALS_ABI:
        facts["signals"] = "enforced: seccomp (to its own process only)"
    if outcome.get("filled") and sandbox.name == "bwrap":
        facts["disk"] = "none"
    facts |= {"pids": _pids(sandbox), "memory": _memory(), "cpu": _cpu(sandbox, outcome)}
    user = {}
    if os.getuid() == 0 and not sandbox.drops:
        user = {
            "user": "none: roles run as root, for no other user can reach python, data or workspace"
        }
    elif sandbox.drops:
        user = {"user": "unprivileged, one for each role"}
    return {"sandbox": sandbox.name, **facts, **user}


def files_fact(why_not: str) -> str:
    """What is shown in the place of the host's programs, and why not, where they are shown themselves."""
    return f"{SHARED} ({why_not})" if why_not else "enforced: a copy in memory"


def _pids(sandbox: Sandbox) -> str:
    if "pids" in parents().controllers:
        return "enforced: cgroup"
    # The limit does not bind root. Without a user namespace it counts all of a person's processes.
    binds = sandbox.drops or (os.getuid() != 0 and sandbox.name == "bwrap")
    if binds and Path("/usr/bin/prlimit").exists():
        return "enforced: rlimit nproc"
    return COUNTED


def _memory() -> str:
    return "enforced: cgroup" if "memory" in parents().controllers else MEASURED


def _cpu(sandbox: Sandbox, outcome: dict[str, bool]) -> str:
    timed = COUNTED_TIME if "cpuacct" in parents().controllers else TIMED
    if sandbox.name == "none" or not supported() or outcome.get("spread"):
        return f"watched: {timed}; affinity not held"
    return f"enforced: affinity by seccomp; {timed}"
