"""Which system calls a variant may not make, as a classic BPF program for seccomp (x86_64 and aarch64).

Everything is allowed but what leaves the box, speaks to another role, or changes what is held from
outside. No library: the program is bytes, which bubblewrap or our launcher hands to the kernel.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Mapping

PID_MARK = 0x7FFE51D0  # stands for the role's own process id; the launcher puts it in

# Syscall numbers: name -> (x86_64, aarch64 or None). From 424 on both count alike.
_HOST = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425),  # would do the work of other calls unseen
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "mount_setattr": (442, 442),
    "quotactl_fd": (443, 443),
    "memfd_secret": (447, 447),  # memory that our accounting does not see
    "open_tree_attr": (467, 467),
}
_CORES = {  # the cores a slot was given are its own, and so is its share
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
}
_CHANNELS = {  # what two roles of one run could whisper through, or leave behind
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "mincore": (27, 232),  # and what else tells, or chooses, which pages of a file lie in memory
    "cachestat": (451, 451),
    "readahead": (187, 213),
}
_METADATA = {  # Landlock does not hold these
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
_SOCKETS = {  # a socket file of the host (a desktop bus, an ssh agent) would be the way out
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
}
_SIGNALS = {  # first argument: whom
    "kill": (62, 129),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_SIGNALS_OTHERWISE = {"tkill": (200, 130), "pidfd_send_signal": (424, 424)}
_FILTERED = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
    "flock": (73, 32),
    "prlimit64": (302, 261),
    "fadvise64": (221, 223),
    "madvise": (28, 233),
    "preadv2": (327, 286),
    "rt_sigaction": (13, 134),
}
TABLES = (_HOST, _CORES, _CHANNELS, _METADATA, _SOCKETS, _SIGNALS, _SIGNALS_OTHERWISE, _FILTERED)

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; TIME is not for clone
_FAMILIES = (1, 2, 10)  # unix, and IPv4 and IPv6 where an empty network namespace holds them
_DATAGRAM, _TYPE_MASK = 2, 0xF
# Typing into a terminal; flags and project of a file.
_IOCTLS = (0x5412, 0x541C, 0x40086602, 0x40046602, 0x401C5820)
_DROP_FILE_PAGES = 4  # POSIX_FADV_DONTNEED
_DROP_PAGES = (20, 21)  # MADV_COLD, MADV_PAGEOUT
_WITHOUT_WAITING = 8  # RWF_NOWAIT
_LOCKS = (6, 7, 37, 38)  # F_SETLK, F_SETLKW and their open-file kind: told to have worked
_FCNTLS = (5, 36, 1024, 1026)  # asking for locks, leases, being told of changes
_CHILD_ENDED = 17  # SIGCHLD
_THREAD, _SHARED_FILES = 0x10000, 0x400  # CLONE_THREAD, CLONE_FILES
_OWNERS = (8, 10, 15)  # whom a descriptor signals, and with what

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16


def supported() -> bool:
    """Whether this machine's system calls are known here."""
    return os.uname().machine in MACHINES


def program(alone: bool = False, own_signals: bool = False, machine: str | None = None) -> bytes:
    """The filter. `alone`: no namespaces around it, so that it holds sockets and metadata, too;
    `own_signals`: signals only to its own process, for kernels whose Landlock does not hold them.
    """
    column, arch = MACHINES[machine or os.uname().machine]
    build = _Builder(column)
    build.begin(arch)
    for table in (_HOST, _CORES, _CHANNELS, *((_METADATA, _SOCKETS) if alone else ())):
        build.deny(table)
    build.when("clone3", [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)])  # then clone is used
    build.when("clone", [*_if_bits(0, _NEW_NAMESPACES), *_OF_ONE_PROCESS])
    build.when("rt_sigaction", _CHILDREN_ARE_COUNTED)
    build.when("flock", [(_RETURN, 0, 0, _ERRNO)])  # a shared file's lock is a message
    build.when("prlimit64", _unless(0, (0,)))
    build.when("fadvise64", _if_any(3, (_DROP_FILE_PAGES,)))
    build.when("madvise", _if_any(2, _DROP_PAGES))
    build.when("preadv2", _if_bits(5, _WITHOUT_WAITING))
    build.when("ioctl", _if_any(1, _IOCTLS))
    more = (*_FCNTLS, *_OWNERS) if own_signals else _FCNTLS
    build.when("fcntl", [*_if_any(1, _LOCKS, _ERRNO), *_if_any(1, more)])
    if alone:
        build.when("socketpair", _if_any(1, (_DATAGRAM,), mask=_TYPE_MASK))
    else:
        build.when("socket", _unless(0, _FAMILIES))
    if own_signals:
        build.deny(_SIGNALS_OTHERWISE)
        for name in _SIGNALS:
            build.when(name, _unless(0, (PID_MARK,)))
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

    def deny(self, table: Mapping[str, tuple[int, int | None]]) -> None:
        for numbers in table.values():
            number = numbers[self._column]
            if number is not None:
                self._steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]

    def when(self, name: str, steps: Iterable[_Step]) -> None:
        """Steps for one call; whoever comes through them is allowed."""
        number = (_FILTERED | _SIGNALS)[name][self._column]
        body = [*steps, (_RETURN, 0, 0, _ALLOW)]
        self._steps += [(_EQUAL, 0, len(body), number), *body]

    def end(self) -> bytes:
        self._steps.append((_RETURN, 0, 0, _ALLOW))
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


def _unless(index: int, values: Iterable[int]) -> list[_Step]:
    steps = [_argument(index)]
    for value in values:
        steps += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*steps, (_RETURN, 0, 0, _REFUSE)]


def _if_bits(index: int, bits: int) -> list[_Step]:
    return [_argument(index), (_AND, 0, 0, bits), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _REFUSE)]
