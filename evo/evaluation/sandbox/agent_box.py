"""The box of a coding agent: bubblewrap's, with what the settings name in it and nothing else of the host."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from evo.evaluation.sandbox import launcher
from evo.evaluation.sandbox.landlock import SYSTEM
from evo.evaluation.sandbox.probe import probe
from evo.evaluation.sandbox.sandbox import (
    SAFE_PATH,
    STATUS_FD,
    Bubblewrap,
    Launch,
    SandboxSettings,
    SandboxUnavailable,
    also_found_at,
)

WORK, HOME = "/desk", "/home/agent"
USER = 1000  # inside the box: some agents refuse to work as root
PASSWD = f"agent:x:{USER}:{USER}:agent:{HOME}:/bin/sh\n"
NETWORK_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
)
TMPFS_MB = 256


class AgentUnusable(Exception):
    """The agent cannot be started as the config says; the message names the key and the fix."""


MAX_MEMORY_MB = 4096  # of all processes of an agent together
MAX_SCRATCH_MB = 256  # of files that it may write
MAX_PROCESSES = 128  # at the same time


class AgentSettings(BaseModel):
    """Which agent, for how long, and what its box lets it see."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] = Field(min_length=1, description="the program and its arguments")
    seconds: float = Field(default=600, gt=0, description="for one proposal; then it is ended")
    environment: tuple[str, ...] = Field(
        default=(), description="variables of ours that it gets; no others"
    )
    network: bool = Field(default=False, description="the host's network, loopback included")
    read_only: tuple[str, ...] = Field(
        default=(),
        description="paths it may read: PATH, found as it is written, or PATH:PLACE in the box",
    )
    memory_mb: ClassVar[int] = MAX_MEMORY_MB
    scratch_mb: ClassVar[int] = MAX_SCRATCH_MB
    processes: ClassVar[int] = MAX_PROCESSES
    sandbox: Literal["auto", "none"] = Field(
        default="auto", description="none: it can do whatever our user can"
    )
    cost_file: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="a file of its folder whose numbers are believed; null: its cost is unknown",
    )


def open_box(settings: AgentSettings, hide: tuple[Path, ...]) -> Bubblewrap | None:
    """Bubblewrap, where it works; `hide` is what must not be read wherever it lies. None: `sandbox: none`.

    SandboxUnavailable elsewhere: nothing else gives an agent a folder, a network and no more.
    """
    if settings.sandbox == "none":
        return None
    found = probe("bwrap")
    if found.denied:
        raise SandboxUnavailable(f"agent: {found.denied}")
    return Bubblewrap(found.binary, SandboxSettings(), found.facts, hide)


class AgentBox:
    """How an agent is started in a scratch folder that holds `work` and `passwd`."""

    def __init__(
        self,
        settings: AgentSettings,
        harness: Path,
        box: Bubblewrap | None,
        environ: Mapping[str, str],
    ) -> None:
        """`box` None: unprotected. AgentUnusable when the settings name what is not there."""
        self._settings = settings
        self._harness = harness
        self._box = box
        self._environ = environ
        self._shown = [_named(one) for one in settings.read_only]
        self._check_paths()
        self._shown += also_found_at(settings.read_only, HOME)
        self._program = self._find_program()

    def launch(self, scratch: Path) -> Launch:
        """The command line for this folder."""
        return self._unboxed(scratch) if self._box is None else self._boxed(self._box, scratch)

    def _boxed(self, box: Bubblewrap, scratch: Path) -> Launch:
        settings, work = self._settings, scratch / "work"
        argv = [
            *(str(box.binary), "--json-status-fd", STATUS_FD),
            *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
            *("--unshare-cgroup-try", "--uid", str(USER), "--gid", str(USER), "--disable-userns"),
            *(() if settings.network else ("--unshare-net",)),
            *("--cap-drop", "ALL", "--die-with-parent", "--new-session"),
            *box.system_view(),
            *("--ro-bind", str(scratch / "passwd"), "/etc/passwd"),
            *("--proc", "/proc", "--dev", "/dev"),
            *box.python_view(),
        ]
        for path in ("/dev/shm", "/tmp", HOME):
            argv += ("--size", str(TMPFS_MB << 20), "--tmpfs", path)
        for path in NETWORK_FILES if settings.network else ():
            argv += ("--ro-bind-try", path, path)
        for path, place in self._shown:
            argv += ("--ro-bind", path, place)
        argv += box.masks([(Path(path), Path(place)) for path, place in self._shown])
        argv += ("--bind", str(work), WORK, "--ro-bind", str(self._harness), f"{WORK}/harness.py")
        argv += ("--chdir", WORK, "--remount-ro", "/dev", "--remount-ro", "/", "--")
        return self._whole(argv, HOME, work)

    def _unboxed(self, scratch: Path) -> Launch:
        """Limits, and our user's rights."""
        home = scratch / "home"
        home.mkdir()
        for path, place in self._shown:
            if place.startswith(f"{HOME}/"):  # `~/x` is where an agent looks for it here, too
                there = home / place.removeprefix(f"{HOME}/")
                there.parent.mkdir(parents=True, exist_ok=True)
                if not os.path.lexists(there):
                    there.symlink_to(path)
        spec = {"user": None, "pid_mark": 0, "rules": None, "seccomp": ""}
        argv = [sys.executable, "-S", "-I", launcher.__file__, json.dumps(spec), STATUS_FD]
        return self._whole(argv, str(home), scratch / "work")

    def _whole(self, argv: list[str], home: str, work: Path) -> Launch:
        settings, prlimit = self._settings, "/usr/bin/prlimit"
        limits = [prlimit, "--core=0", f"--fsize={settings.scratch_mb << 20}"]
        env = {
            "PATH": self._path(),
            "HOME": home,
            "USER": "agent",
            "LOGNAME": "agent",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        given = {one: self._environ[one] for one in settings.environment if one in self._environ}
        return Launch(
            argv=(
                *argv,
                *(limits if Path(prlimit).exists() else ()),
                *(self._program, *settings.command[1:]),
            ),
            env=env | given,
            cwd=work,
            data=(),
            weights="",
            on_disk=work,
            tmpfs_mb=3 * TMPFS_MB if self._box else 0,
            all_in_namespace=self._box is not None,
        )

    # -- what the settings name ----------------------------------------------------------------------------

    def _path(self) -> str:
        ours = f"/usr/local/bin:{SAFE_PATH}:{Path(sys.executable).parent}"
        return self._environ.get("PATH", ours) if "PATH" in self._settings.environment else ours

    def _check_paths(self) -> None:
        for path, place in self._shown:
            if not (os.path.isabs(path) and os.path.isabs(place)):
                raise AgentUnusable(f"agent.read_only: {path}:{place}: give absolute paths")
            if not os.path.exists(path):
                raise AgentUnusable(f"agent.read_only: {path} does not exist")

    def _find_program(self) -> str:
        """The program as the box sees it."""
        name = os.path.expanduser(self._settings.command[0])
        placed = [one for one in self._shown if self._box and _under(name, one[1])]
        if placed:
            path, place = placed[-1]
            outside = os.path.normpath(os.path.join(path, os.path.relpath(name, place)))
            found = name if os.access(outside, os.X_OK) else None
        else:
            found = shutil.which(name, path=self._path())
        if found is None:
            raise AgentUnusable(
                f"agent.command: there is no program {name!r} in {self._path()}; give its whole path"
            )
        roots = [*SYSTEM, sys.base_prefix, sys.prefix, *(place for _, place in self._shown)]
        if self._box and not any(_under(found, root) for root in roots):
            raise AgentUnusable(
                f"agent.command: {found} cannot be seen in the box; name its folder in agent.read_only"
            )
        return found


def _under(path: str, root: str) -> bool:
    return os.path.isabs(path) and Path(path).is_relative_to(root)


def _named(entry: str) -> tuple[str, str]:
    """PATH or PATH:PLACE; `~` is our home."""
    path, _, place = entry.partition(":")
    path = os.path.expanduser(path)
    real = os.path.realpath(path) if os.path.isabs(path) else path
    return real, place or real
