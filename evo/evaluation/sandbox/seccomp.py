"""Which system calls a variant may make, as a classic BPF program for seccomp (x86_64 and aarch64).

An allow-list: of calls, and of the arguments of those that do many things. It holds what torch, compilers
and honest models ask for, and nothing that leaves the box, speaks to another role, changes what is held
from outside, or tells how the rest of the machine stands. No library: the program is bytes, which
bubblewrap or our launcher hands to the kernel.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable

from evo.evaluation.sandbox.system_calls import (
    ALWAYS,
    FILTERED,
    METADATA,
    SIGNALS,
    SIGNALS_OTHERWISE,
    SOCKETS,
    Numbers,
)

PID_MARK = 0x7FFE51D0  # stands for the role's own process id; the launcher puts it in

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH
_X32 = 0x40000000
_NEWER = (
    424  # from here on calls count alike on all machines, and libraries ask whether they are there
)
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; TIME is not for clone
_FAMILIES = (1,)  # unix: what others hold in the kernel is megabytes a connection
_DATAGRAM, _TYPE_MASK = 2, 0xF
_IOCTLS = (
    *(0x5401, 0x5413, 0x540F, 0x802C542A),  # is it a terminal, and of what size
    *(0x541B, 0x5421, 0x5450, 0x5451),  # bytes to read, blocking, closing on exec
    *(0x8910, 0x8912, 0x8913, 0x8915, 0x8933),  # names and addresses of interfaces
)
# By driver sources, not measured: the driver's own are of type F, those of its unified memory small numbers.
_NVIDIA_TYPE, _WSL_TYPE, _TYPE_OF_IOCTL = 0x4600, 0x4700, 0xFF00
_NVIDIA_MEMORY = (0x30000001, 0x30000002)
_FCNTLS = (0, 1, 2, 3, 4, 1030, 1032, 1033, 1034)  # duplicates, flags, a pipe's size, seals
_LOCKS = (6, 7, 37, 38)  # F_SETLK, F_SETLKW and their open-file kind: told to have worked
_ADVICE_ON_FILES = (0, 1, 2, 3, 5)  # all but dropping pages
_ADVICE = (0, 1, 2, 3, 4, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 22, 23)  # nor merging equal ones
_PRCTLS = (
    *(1, 2, 3, 15, 16, 21, 23, 27, 29, 30, 36, 37, 38, 39, 40, 41, 42),
    *(47, 50, 51, 53, 54, 55, 56, 63, 64, 0x53564D41, 0x59616D61),
)
_DUMPABLE = 4  # PR_SET_DUMPABLE: what turns it off is hidden from a watcher that is not root
_WITHOUT_WAITING = 8  # RWF_NOWAIT
_HUGE_PAGES = 0x40000  # MAP_HUGETLB: the machine has a few
_SEEKS = (0, 1, 2)  # not: where a file has holes, which marks what was asked
_PRIVATE, _OPERATION, _WAITS = 128, 0x7F, (0, 9)
_TIMEOUT = 3
_NAMELESS = (
    0x21  # MAP_SHARED | MAP_ANONYMOUS: once unmapped in part, no process shows what it holds
)
_SOCKET, _BUFFERS = 1, (7, 8, 32, 33)  # SOL_SOCKET; SO_SNDBUF, SO_RCVBUF and their FORCE
_PASS_PIDFD = 76  # SO_PASSPIDFD
_ASKED_OF_SOCKETS = (
    *range(2, 10),
    13,
    *range(15, 22),
    30,
    38,
    39,
    66,
    67,
)  # not: numbers of all sockets
_CHILD_ENDED = 17  # SIGCHLD
_THREAD, _SHARED_FILES = 0x10000, 0x400  # CLONE_THREAD, CLONE_FILES
_PIDFD = 0x1000  # CLONE_PIDFD: its inode counts the processes that the machine ever had

_LOAD, _JUMP, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_MAX_STEPS = 255  # that one jump can pass over


def supported() -> bool:
    """Whether this machine's system calls are known here."""
    return os.uname().machine in MACHINES


def program(
    alone: bool = False, own_signals: bool = False, machine: str | None = None, gpu: bool = False
) -> bytes:
    """The filter. `alone`: no namespaces around it, so that it holds sockets and metadata, too;
    `own_signals`: signals only to its own process, for kernels whose Landlock does not hold them;
    `gpu`: with the driver's ioctls.
    """
    column, arch = MACHINES[machine or os.uname().machine]
    build = _Builder(column)
    build.begin(arch)
    build.when("futex", _private_futexes())
    build.when("clone3", [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)])  # then clone is used
    build.when("clone", [*_if_bits(0, _NEW_NAMESPACES | _PIDFD), *_OF_ONE_PROCESS])
    build.when("rt_sigaction", _CHILDREN_ARE_COUNTED)
    build.when("flock", [(_RETURN, 0, 0, _ERRNO)])  # a shared file's lock is a message
    build.when("prlimit64", _unless(0, (0,)))
    build.when("fadvise64", _unless(3, _ADVICE_ON_FILES))
    build.when("madvise", _unless(2, _ADVICE))
    build.when("prctl", [*_if_any(0, (_DUMPABLE,), _ERRNO), *_unless(0, _PRCTLS)])
    build.when("lseek", _unless(2, _SEEKS, _ERRNO | errno.EINVAL))
    build.when("mbind", _unless(5, (0,)))  # without moving pages
    build.when("get_mempolicy", _unless(4, (0, 4)))  # not of an address: shared pages lie somewhere
    for name in ("preadv2", "pwritev2"):
        build.when(name, _if_bits(5, _WITHOUT_WAITING))
    nameless = [] if gpu else [*_if_all(3, _NAMELESS)]  # CUDA pins such memory
    build.when("mmap", [*_if_bits(3, _HUGE_PAGES), *nameless])
    build.when("memfd_create", _if_bits(1, 4) if gpu else [(_RETURN, 0, 0, _REFUSE)])
    # They keep the size that we count them at.
    held = [*_if_any(2, _BUFFERS, _ERRNO), *_if_any(2, (_PASS_PIDFD,))]
    build.when("setsockopt", [_argument(1), (_EQUAL, 0, len(held), _SOCKET), *held])
    build.when("getsockopt", _unless(2, _ASKED_OF_SOCKETS, _ERRNO | errno.ENOPROTOOPT))
    build.when("setsid", [(_RETURN, 0, 0, _ERRNO)])  # each one is counted, for all to see
    build.when("ioctl", [*(_gpu_ioctls() if gpu else ()), *_unless(1, _IOCTLS)])
    build.when("fcntl", [*_if_any(1, _LOCKS, _ERRNO), *_unless(1, _FCNTLS)])
    if alone:
        build.when("socketpair", _if_any(1, (_DATAGRAM,), mask=_TYPE_MASK))
    else:
        build.when("socket", _unless(0, _FAMILIES))
        build.when("socketpair", [])
        # Devices are the host's own, and their times and modes stay: told to have worked.
        build.answer(METADATA, _ERRNO)
        build.answer(SOCKETS, _ALLOW)
    for table in ALWAYS:
        build.answer(table, _ALLOW)
    if own_signals:
        for name in SIGNALS:
            build.when(name, _unless(0, (PID_MARK,)))
    else:
        build.answer(SIGNALS, _ALLOW)
        build.answer(SIGNALS_OTHERWISE, _ALLOW)
    return build.end()


_Step = tuple[int, int, int, int]  # code, jump if true, jump if false, constant
_REFUSE = _ERRNO | errno.EPERM


# A thread with descriptors of its own would hold files that nobody finds by its process.
_OF_ONE_PROCESS: list[_Step] = [
    (_LOAD, 0, 0, _ARGUMENTS),
    (_AND, 0, 0, _THREAD | _SHARED_FILES),
    (_EQUAL, 0, 1, _THREAD),
    (_RETURN, 0, 0, _REFUSE),
]
# Where the end of children is ignored, what they used is added to nobody's time. Changing what becomes
# of it is told to have worked, as a data loader does it; asking is allowed.
_CHILDREN_ARE_COUNTED: list[_Step] = [
    (_LOAD, 0, 0, _ARGUMENTS),
    (_EQUAL, 0, 5, _CHILD_ENDED),
    (_LOAD, 0, 0, _ARGUMENTS + 8),
    (_EQUAL, 0, 2, 0),
    (_LOAD, 0, 0, _ARGUMENTS + 12),
    (_EQUAL, 1, 0, 0),
    (_RETURN, 0, 0, _ERRNO),
]


class _Builder:
    def __init__(self, column: int) -> None:
        self._column = column
        self._steps: list[_Step] = []

    def begin(self, arch: int) -> None:
        self._steps += [
            (_LOAD, 0, 0, _ARCH),
            (_EQUAL, 1, 0, arch),
            (_RETURN, 0, 0, _KILL),
            (_LOAD, 0, 0, _NUMBER),
        ]
        if self._column == 0:
            self._steps += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]

    def answer(self, table: Numbers, answer: int) -> None:
        for numbers in table.values():
            number = numbers[self._column]
            if number is not None:
                self._steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, answer)]

    def when(self, name: str, steps: Iterable[_Step]) -> None:
        """Steps for one call; what comes through them is allowed."""
        number = (FILTERED | SIGNALS)[name][self._column]
        body = [*steps, (_RETURN, 0, 0, _ALLOW)]
        if len(body) > _MAX_STEPS or number is None:
            raise ValueError(f"too long a filter for {name}")
        self._steps += [(_EQUAL, 0, len(body), number), *body]

    def end(self) -> bytes:
        unknown = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
        self._steps += [(_AT_LEAST, 0, 1, _NEWER), unknown, (_RETURN, 0, 0, _REFUSE)]
        return b"".join(struct.pack("=HBBI", *step) for step in self._steps)


def _argument(index: int) -> _Step:
    """The lower half of an argument: what the kernel takes of an int."""
    return _LOAD, 0, 0, _ARGUMENTS + 8 * index


def _if_any(
    index: int, values: Iterable[int], answer: int = _REFUSE, mask: int = 0xFFFFFFFF
) -> list[_Step]:
    steps = [_argument(index), (_AND, 0, 0, mask)]
    for value in values:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, answer)]
    return steps


def _unless(index: int, values: Iterable[int], answer: int = _REFUSE) -> list[_Step]:
    steps = [_argument(index)]
    for value in values:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*steps, (_RETURN, 0, 0, answer)]


def _if_bits(index: int, bits: int) -> list[_Step]:
    return [_argument(index), (_AND, 0, 0, bits), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _REFUSE)]


def _if_all(index: int, bits: int) -> list[_Step]:
    return [_argument(index), (_AND, 0, 0, bits), (_EQUAL, 0, 1, bits), (_RETURN, 0, 0, _REFUSE)]


def _gpu_ioctls() -> list[_Step]:
    steps = _if_any(1, (_NVIDIA_TYPE, _WSL_TYPE), _ALLOW, _TYPE_OF_IOCTL)
    small = [_argument(1), (_AT_LEAST, 1, 0, 0x100), (_RETURN, 0, 0, _ALLOW)]
    return [*steps, *small, *_if_any(1, _NVIDIA_MEMORY, _ALLOW)]


def _private_futexes() -> list[_Step]:
    """Futexes of one process alone; the others never sleep and wake nobody.

    A page of a file that two roles can read is a bell between them, however it is mapped. But the C library
    waits for the end of a thread, and for a semaphore between processes, in the same way: they are told what
    a futex may always say, that they were woken for nothing (or too late, where there was a limit), and look
    again. Waiting costs the one who waits; nothing is ever missed.
    """
    late = (_RETURN, 0, 0, _ERRNO | errno.ETIMEDOUT)
    low, high = _argument(_TIMEOUT), (_LOAD, 0, 0, _ARGUMENTS + 8 * _TIMEOUT + 4)
    waits = [low, (_EQUAL, 1, 0, 0), late, high, (_EQUAL, 1, 0, 0), late]
    return [
        _argument(1),
        (_AND, 0, 0, _PRIVATE),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _ALLOW),
        _argument(1),
        (_AND, 0, 0, _OPERATION),
        *((_EQUAL, len(_WAITS) - at, 0, wait) for at, wait in enumerate(_WAITS)),
        (_JUMP, 0, 0, len(waits)),
        *waits,
        (_RETURN, 0, 0, _ERRNO),
    ]
