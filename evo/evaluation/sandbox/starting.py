"""Starting a role's outermost process: descriptors, user, cores and control group in place from the first."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping

from evo.evaluation.channels import Wires
from evo.evaluation.sandbox import keeper
from evo.evaluation.sandbox.cgroups import Group
from evo.evaluation.sandbox.sandbox import STATUS_FD, Launch

_one_at_a_time = threading.Lock()  # each start holds a descriptor for each of its texts

# Waits until we have put it where it belongs, so that nothing it starts is outside.
GATE = ("/bin/sh", "-c", 'read -r go && exec "$@"', "sh")


def start(
    launch: Launch, environment: Mapping[str, str], wires: Wires, group: Group, cpus: Iterable[int]
) -> subprocess.Popen[bytes]:
    """The process, running. OSError when it cannot be started; nothing is left, then."""
    if launch.owner is not None:
        for path in launch.owned:
            os.chown(path, launch.owner, launch.owner)
    with _one_at_a_time, _in_memory(launch.texts) as given, _on_cores(cpus):
        words = {STATUS_FD: str(wires.setup_end), **{word: str(fd) for word, fd in given.items()}}
        argv = [*_keeper(launch), *(words.get(word, word) for word in launch.argv)]
        popen = subprocess.Popen(
            [*GATE, *argv] if group else argv,
            env=environment,
            cwd=launch.cwd,
            stdin=subprocess.PIPE,  # never a file of the host: its times could be changed through it
            stdout=wires.log_end,
            stderr=wires.log_end,
            pass_fds=(*wires.inherited, *given.values()),
            start_new_session=True,
            user=launch.user,
            group=launch.user,
            extra_groups=None if launch.user is None else [],
        )
    assert popen.stdin
    try:
        with popen.stdin as gate:
            if group:
                group.add(popen.pid)
                gate.write(b"go\n")
    except OSError:
        popen.kill()
        popen.wait()
        raise
    return popen


def _keeper(launch: Launch) -> tuple[str, ...]:
    killed_by = "box" if launch.all_in_namespace else "role"
    return sys.executable, "-S", "-I", keeper.__file__, str(os.getpid()), killed_by


@contextlib.contextmanager
def _in_memory(texts: Mapping[str, bytes]) -> Iterator[dict[str, int]]:
    """A descriptor for each word that its bytes can be read from."""
    given: dict[str, int] = {}
    try:
        for word, text in texts.items():
            given[word] = os.memfd_create("text", os.MFD_CLOEXEC)
            os.pwrite(given[word], text, 0)
        yield given
    finally:
        for fd in given.values():
            os.close(fd)


@contextlib.contextmanager
def _on_cores(cpus: Iterable[int]) -> Iterator[None]:
    """This thread on some of its cores, for a child to inherit."""
    ours = os.sched_getaffinity(0)
    if not (wanted := set(cpus) & ours):
        yield
        return
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
