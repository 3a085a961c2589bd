"""Shuts a role in without namespaces, then becomes it.

`python -S -I launcher.py SPEC STATUS COMMAND...` beneath its keeper; imports nothing of ours. STATUS is a
descriptor that is told when the box stands. SPEC is JSON: user (an unprivileged uid, or null), rules ([kind
of ACCESS, path] for Landlock, or null: no box), seccomp (a program in hex, or ""), self_access (to
/proc/self, or ""), pid_mark, most_abi (for tests).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # on every machine
MIN_ABI = 3  # Linux 6.2: before it, a file that may only be read could be emptied
SCOPED_SIGNALS_ABI = 6
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 22, 24
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 28, 38
NO_ROOT_LOCKED = 0b11
CAPABILITY_VERSION = 0x20080522

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
MAKE_DEVICES = 1 << 6 | 1 << 11
READ = EXECUTE | READ_FILE | READ_DIR
USE = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV
ACCESS = {"list": READ_DIR, "read": READ, "use": USE}  # and "write": everything
NOT_STARTED = 126

libc = ctypes.CDLL(None, use_errno=True)


class RulesetAttr(ctypes.Structure):
    """struct landlock_ruleset_attr."""

    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class PathAttr(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def landlock_abi() -> int:
    """Which Landlock the kernel speaks; 0 when none, or when it is switched off."""
    return max(int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)), 0)


def checked(result: int, what: str) -> int:
    """The result of a call of the C library. Raises OSError when it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int, what: str, third: object = 0) -> None:
    """prctl with up to three arguments."""
    zero = ctypes.c_ulong(0)
    checked(libc.prctl(option, ctypes.c_ulong(value), third or zero, zero, zero), what)


# -- the box ---------------------------------------------------------------------------------------


def landlock(rules: list[list[str]], self_access: str, most_abi: int) -> None:
    """Nothing may be opened, made or removed but beneath these paths; no signals out."""
    abi = min(landlock_abi(), most_abi)
    if abi < MIN_ABI:
        raise OSError(0, f"Landlock {abi} of the kernel is too old: 3 (Linux 6.2) is needed")
    handled = (1 << (16 if abi >= 5 else 15)) - 1
    attr = RulesetAttr(handled, 0b11 if abi >= 4 else 0, 0b11 if abi >= SCOPED_SIGNALS_ABI else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(attr), ctypes.c_size_t(size), 0)
    checked(ruleset, "landlock_create_ruleset")
    # What a run writes it may load, not execute: a file that nobody may read would hide whoever it becomes.
    access = ACCESS | {"write": handled & ~(MAKE_DEVICES | EXECUTE)}
    for kind, path in [*rules, *([[self_access, "/proc/self"]] if self_access else [])]:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        allowed = access[kind] & handled
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            allowed &= OF_FILES
        rule = PathAttr(allowed, fd)
        checked(libc.syscall(ADD_RULE, ruleset, 1, ctypes.byref(rule), 0), f"landlock: {path}")
        os.close(fd)
    checked(libc.syscall(RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def drop_capabilities() -> None:
    """Be an ordinary process even as uid 0, and after exec."""
    prctl(PR_SET_SECUREBITS, NO_ROOT_LOCKED, "securebits")
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # the last one there is
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    checked(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def seccomp(program: bytes, pid_mark: int) -> None:
    """Install a BPF program, our own process id in it where its mark stands."""
    mark, own = (number.to_bytes(4, sys.byteorder) for number in (pid_mark, os.getpid()))
    filled = program.replace(mark, own)
    value = Program(len(filled) // 8, filled)
    prctl(PR_SET_SECCOMP, 2, "seccomp", ctypes.byref(value))


def become_role(spec: dict[str, Any], status: int, command: list[str]) -> None:
    """Give up everything, tell so, and become the command. Does not return."""
    boxed, keeper = spec["rules"] is not None, os.getppid()
    if spec["user"] is not None:
        os.setgroups([])
        os.setresgid(*[spec["user"]] * 3)
        os.setresuid(*[spec["user"]] * 3)
    elif boxed and os.geteuid() == 0:
        drop_capabilities()
    # A change of the uid cleared what the keeper had set.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, "pdeathsig")
    if os.getppid() != keeper:
        os._exit(1)
    prctl(PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
    if boxed:
        landlock(spec["rules"], spec["self_access"], spec["most_abi"])
    if spec["seccomp"]:
        seccomp(bytes.fromhex(spec["seccomp"]), spec["pid_mark"])
    os.write(status, b'{"child-pid": %d}' % os.getpid())
    os.close(status)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(command[0], command)


def main() -> int:
    """Become the role, or say why not."""
    try:
        become_role(json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    except (OSError, ValueError) as error:
        os.write(2, f"{error.strerror if isinstance(error, OSError) else error}\n".encode())
    return NOT_STARTED


if __name__ == "__main__":
    os._exit(main())
