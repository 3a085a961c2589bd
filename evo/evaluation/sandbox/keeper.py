"""Runs one role and ends all of it: also what it leaves behind, and also when our own process is killed.

`python -S -I keeper.py PARENT WORD COMMAND...`, the outermost process of a role; imports nothing of ours.
PARENT is the process id of who starts it. WORD says what the end of the command by a signal means: `box`,
that somebody outside killed the box, and the keeper ends by that signal, too; `role`, that the role did it
to itself. A box of namespaces would end with its parent by itself, but not yet while it is being made.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
NOT_STARTED = 126


def prctl(option: int, value: int) -> None:
    """prctl with one argument. Raises OSError when the kernel refuses."""
    words = map(ctypes.c_ulong, (value, 0, 0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(option, *words) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def keep(child: int) -> int:
    """Wait for the child's end, or our parent's; end all that is left; the child's exit code, or -signal."""
    while True:
        got = signal.sigwait((signal.SIGCHLD, signal.SIGTERM))
        if got == signal.SIGTERM:
            end_all()
            return 128 + signal.SIGTERM
        while (ended := reap()) is not None:
            if ended[0] == child:
                end_all()
                return os.waitstatus_to_exitcode(ended[1])


def reap() -> tuple[int, int] | None:
    """One child that ended and its status; None when none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def end_all() -> None:
    """Kill everything beneath us until nothing is: orphans have become our children."""
    while True:
        for pid in beneath(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        while reap() is not None:
            continue
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        time.sleep(0.001)


def beneath(pid: int) -> list[int]:
    """All descendants, the nearest first."""
    found = [pid]
    for one in found:
        try:
            threads = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{one}/task/{thread}/children", encoding="utf-8") as file:
                    found += map(int, file.read().split())
            except OSError:
                continue
    return found[1:]


def become(command: list[str], keeper: int) -> None:
    """End with the keeper from now on, and become the command. Does not return."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == keeper:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(command[0], command)


def main() -> int:
    """Start the command and keep it."""
    parent, of_box, command = int(sys.argv[1]), sys.argv[2] == "box", sys.argv[3:]
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, signal.SIGTERM))
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:
        return 1
    keeper, child = os.getpid(), os.fork()
    if child == 0:
        try:
            become(command, keeper)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(NOT_STARTED)
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))  # the role's pipes end with the role
    code = keep(child)
    if code < 0 and of_box:
        os.kill(keeper, signal.SIGKILL)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main())
