"""Boxes without namespaces: Landlock and seccomp where those are denied, and no box at all.

Both start through the launcher, which shuts the role in and becomes it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evo.evaluation.sandbox import launcher
from evo.evaluation.sandbox.sandbox import (
    COMPILED,
    STATUS_FD,
    Launch,
    SandboxSettings,
    View,
    all_in,
    gpu_devices,
    limits_prefix,
    role_environment,
    user_of,
)
from evo.evaluation.sandbox.seccomp import PID_MARK, program

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
READABLE = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/proc/cpuinfo",
    "/proc/version",
    "/proc/filesystems",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system",
)
ZEROS = "/dev/zero"  # whose shared pages could be unmapped in part, and then no process shows them
DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")
NEWEST_ABI = 1 << 16
SPARE_THREADS = 4096  # of a user who has other work here, too

Rule = tuple[str, str]  # a kind of the launcher's ACCESS, and a path


@dataclass(frozen=True)
class Landlocked:
    """Opens nothing that it was not given, speaks to nobody, signals nobody outside.

    What Landlock does not hold (metadata, sockets, other processes' cores) seccomp refuses.
    """

    settings: SandboxSettings
    facts: Mapping[str, str] = field(default_factory=dict)
    hide: tuple[Path, ...] = ()  # files and folders that must not be read, wherever they lie
    drops: bool = False
    most_abi: int = NEWEST_ABI  # a lower one, to see what an older kernel would hold
    name: str = "landlock"

    def launch(self, view: View) -> Launch:
        """The launcher's command line for this view."""
        abi = min(launcher.landlock_abi(), self.most_abi)
        own_signals = abi < launcher.SCOPED_SIGNALS_ABI
        spec = {
            "rules": list(self._rules(view)),
            "self_access": "" if view.gpu is None else "use",  # CUDA names its threads there
            "seccomp": program(alone=True, own_signals=own_signals, gpu=view.gpu is not None).hex(),
            "most_abi": self.most_abi,
        }
        return _launch(self, view, spec)

    def _rules(self, view: View) -> Iterator[Rule]:
        prefixes = dict.fromkeys((*SYSTEM, sys.base_prefix, sys.prefix))
        for root in prefixes:
            yield from _around(Path(root), self.hide)
        yield from (("read", path) for path in READABLE)
        yield from (("use", path) for path in DEVICES)
        yield "write", str(view.scratch)
        if view.job:
            for path, _ in view.job.read_only:
                yield from _around(Path(path), self.hide)
        else:
            yield "read", str(view.code)
            if view.data:
                yield "read", str(view.data[0].parent)
            # A shard of another file system is pointed to; what lies beside it there stays closed.
            yield from (("read", str(one.resolve())) for one in view.data if one.is_symlink())
            yield "use" if view.writes_weights else "read", str(view.weights)
        if view.gpu is not None:
            yield from (("read", path) for path in ("/proc", "/sys"))
            yield from (("use", path) for path in (ZEROS, *gpu_devices(view)))


@dataclass(frozen=True)
class Unboxed:
    """No box: own session, rebuilt environment, keeper, limits and watchdogs. Protects nothing else."""

    settings: SandboxSettings
    facts: Mapping[str, str] = field(default_factory=dict)
    drops: bool = False
    name: str = "none"

    def launch(self, view: View) -> Launch:
        """A command in the run's own folder, under the keeper alone."""
        return _launch(self, view, {"rules": None, "seccomp": ""})


def _launch(sandbox: Landlocked | Unboxed, view: View, spec: Mapping[str, object]) -> Launch:
    user = user_of(view) if sandbox.drops else None
    whole = {"user": user, "pid_mark": PID_MARK, **spec}
    most = 8 * sandbox.settings.processes
    if user is None:
        most = _threads_of_user() + SPARE_THREADS
    home, job = str(view.scratch), view.job
    for name, text in view.compiled.items():
        path = view.scratch / COMPILED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    argv = (
        *(sys.executable, "-S", "-I", launcher.__file__, json.dumps(whole), STATUS_FD),
        *limits_prefix(view, most),
        *(job.argv(home) if job else (sys.executable, "-s", str(view.code / "train.py"))),
    )
    weights = (view.weights,) if view.writes_weights and not job else ()
    return Launch(
        argv=argv,
        env=job.env(view, home, home) if job else role_environment(home, view),
        cwd=view.scratch,
        data=tuple(map(str, view.data)),
        weights=str(view.weights),
        owner=user,
        owned=(
            *(
                all_in(view.scratch)
                if job or view.compiled or view.keeps_compiled
                else (view.scratch,)
            ),
            *weights,
        ),
        on_disk=view.scratch,
        guarded=isinstance(sandbox, Landlocked),
    )


def _around(root: Path, hide: tuple[Path, ...]) -> Iterator[Rule]:
    """`root` readable, or what lies in it beside the hidden paths. Names in it can be listed all the same."""
    if not any(path.is_relative_to(root) for path in hide):
        yield "read", str(root)
        return
    if root in hide or not root.is_dir():
        return
    yield "list", str(root)
    for path in root.iterdir():
        if not path.is_symlink():  # what it leads to has a rule of its own, or none
            yield from _around(path, hide)


@functools.cache
def _threads_of_user() -> int:
    """How many threads our user has: the limit on a new one counts them all."""
    count = 0
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and folder.stat().st_uid == os.getuid():
                count += len(os.listdir(folder / "task"))
    return count
