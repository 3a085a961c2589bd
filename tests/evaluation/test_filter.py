"""The system call filter, run here by an interpreter of its own for both kinds of machine."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from evo.evaluation.sandbox import system_calls
from evo.evaluation.sandbox.seccomp import MACHINES, PID_MARK, program

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
machines = pytest.mark.parametrize("machine", MACHINES)


def answer(code: bytes, machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel would do with a call (classic BPF over struct seccomp_data)."""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, arch or MACHINES[machine][1], 0, *words)
    steps = list(struct.iter_unpack("=HBBI", code))
    at = value = 0
    while True:
        kind, yes, no, constant = steps[at]
        at += 1
        if kind == 0x20:
            (value,) = struct.unpack_from("=I", data, constant)
        elif kind == 0x54:
            value &= constant
        elif kind == 0x05:
            at += constant
        elif kind == 0x06:
            return int(constant)
        else:
            at += yes if (value == constant if kind == 0x15 else value >= constant) else no


REFUSED = {  # stand in no table of the filter
    "ptrace": (101, 117),
    "io_uring_setup": (425, 425),
    "sched_setaffinity": (203, 122),
    "mincore": (27, 232),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "sysinfo": (99, 179),
    "move_pages": (279, 239),
    "inotify_init1": (294, 26),
    "vmsplice": (278, 75),
    "set_mempolicy_home_node": (450, 450),
    "a call of tomorrow": (999, 999),
}


def number_of(name: str, machine: str) -> int:
    column = MACHINES[machine][0]
    known = {key: value for table in system_calls.TABLES for key, value in table.items()}
    found = (known | REFUSED)[name][column]
    assert found is not None
    return found


@machines
def test_syscall_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip("no kernel headers")
    known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    if "fstatat" in known:  # by its name on 64 bits
        known["newfstatat"] = known["fstatat"]
    column = MACHINES[machine][0]
    for table in system_calls.TABLES:
        for name, numbers in table.items():
            if name in known:
                assert numbers[column] == int(known[name]), name
            else:  # newer than the header, or not there on this machine
                number = numbers[column]
                assert number is None or number >= 424, name


@machines
@pytest.mark.parametrize(
    ("name", "arguments", "boxed", "alone"),
    [
        ("ptrace", (), False, False),
        ("io_uring_setup", (), False, False),
        ("sched_setaffinity", (), False, False),
        ("fchmod", (), False, False),
        ("socket", (1,), True, False),
        ("socket", (2,), False, False),  # megabytes in the kernel a connection
        ("sendmsg", (), True, False),
        ("setsockopt", (3, 1, 2), True, True),
        ("setsockopt", (3, 1, 7), False, False),
        ("setsockopt", (3, 6, 7), True, True),
        ("mmap", (0, 4096, 3, 0x22), True, True),
        ("mmap", (0, 4096, 3, 0x01), True, True),
        ("mmap", (0, 4096, 3, 0x21), False, False),  # shared and of no file
        ("mmap", (0, 4096, 3, 0x23), False, False),
        ("vmsplice", (), False, False),
        ("socket", (40,), False, False),  # vsock reaches the host of a virtual machine
        ("connect", (), True, False),
        ("socketpair", (1, 1 | 0o2000000), True, True),
        ("socketpair", (1, 2), True, False),
        ("clone", (0x01200011,), True, True),
        ("clone", (0x10000011,), False, False),
        ("clone", (0x003D0F00,), True, True),  # a thread as the C library makes it
        ("clone", (0x00010900,), False, False),  # and one with descriptors of its own
        ("clone3", (), False, False),
        ("ioctl", (0, 0x5401), True, True),
        ("ioctl", (0, 0x5412), False, False),
        ("ioctl", (0, 0x1_0000_5412), False, False),  # the kernel takes the lower half
        ("fcntl", (0, 3), True, True),
        ("fcntl", (0, 1024), False, False),
        ("prlimit64", (0,), True, True),
        ("prlimit64", (1,), False, False),
        ("kill", (1,), True, True),
        ("mincore", (), False, False),
        ("fadvise64", (0, 0, 0, 2), True, True),
        ("fadvise64", (0, 0, 0, 4), False, False),
        ("madvise", (0, 0, 4), True, True),
        ("madvise", (0, 0, 21), False, False),
        ("preadv2", (0, 0, 0, 0, 0, 0), True, True),
        ("preadv2", (0, 0, 0, 0, 0, 8), False, False),
        ("pwritev2", (0, 0, 0, 0, 0, 8), False, False),
        ("fcntl", (0, 1036), False, False),  # a write hint stays with a file
        ("fcntl", (0, 1038), False, False),
        ("fcntl", (0, 8), False, False),
        ("ioctl", (0, 0xC020660B), False, False),  # where a file lies
        ("ioctl", (0, 0xC01C464E), False, False),  # a driver's, without a GPU
        ("lseek", (0, 0, 1), True, True),
        ("lseek", (0, 0, 4), False, False),  # a hole
        ("madvise", (0, 0, 12), False, False),  # merges equal pages
        ("madvise", (0, 0, 25), False, False),
        ("prctl", (15,), True, True),
        ("prctl", (62,), False, False),
        ("mmap", (0, 0, 0, 0x22), True, True),
        ("mmap", (0, 0, 0, 0x40022), False, False),
        ("get_mempolicy", (0, 0, 0, 0, 0), True, True),
        ("get_mempolicy", (0, 0, 0, 0, 3), False, False),
        ("mbind", (0, 0, 0, 0, 0, 2), False, False),
        *((name, (), False, False) for name in sorted(REFUSED)),
    ],
)
def test_the_filter_refuses_what_leaves_the_box(
    machine: str, name: str, arguments: tuple[int, ...], boxed: bool, alone: bool
) -> None:
    number = number_of(name, machine)
    for code, allowed in (
        (program(machine=machine), boxed),
        (program(True, False, machine), alone),
    ):
        got = answer(code, machine, number, *arguments)
        assert (got == ALLOW) is allowed, (name, hex(got))
        assert allowed or got & 0xFFFF0000 == ERRNO


@machines
def test_locks_on_shared_files_are_told_to_work_and_do_nothing(machine: str) -> None:
    code = program(machine=machine)
    assert answer(code, machine, number_of("flock", machine), 3, 2) == ERRNO
    assert answer(code, machine, number_of("fcntl", machine), 3, 6) == ERRNO


@machines
def test_times_and_modes_are_told_to_change_and_do_not(machine: str) -> None:
    for name in ("utimensat", "fchmodat", "fchown", "fsetxattr"):
        number = number_of(name, machine)
        assert answer(program(machine=machine), machine, number) == ERRNO
        assert answer(program(True, machine=machine), machine, number) == ERRNO | 1


@machines
def test_ignoring_the_end_of_children_is_told_to_work_and_does_nothing(machine: str) -> None:
    code, number = program(machine=machine), number_of("rt_sigaction", machine)
    for action in (0x1000, 0x7F00_0000_0000):
        assert answer(code, machine, number, 17, action) == ERRNO
        assert answer(code, machine, number, 2, action) == ALLOW
    assert answer(code, machine, number, 17, 0, 0x1000) == ALLOW


@machines
def test_only_the_futexes_of_one_process_make_it_wait_or_wake(machine: str) -> None:
    code, number = program(machine=machine), number_of("futex", machine)
    private = 128
    for operation in (0, 1, 9, 10, 4 | 256):
        assert answer(code, machine, number, 0, operation | private) == ALLOW
    for wait in (0, 9, 9 | 256):  # woken for nothing, or too late where there was a limit
        assert answer(code, machine, number, 0, wait, 7, 0) == ERRNO
        for limit in (1, 1 << 40):
            assert answer(code, machine, number, 0, wait, 7, limit) == ERRNO | 110
    for wake in (1, 3, 4, 5, 10):
        assert answer(code, machine, number, 0, wake, 1, 0) == ERRNO


@machines
def test_the_driver_of_a_gpu_is_spoken_to_only_where_there_is_one(machine: str) -> None:
    number = number_of("ioctl", machine)
    for command in (0xC01C464E, 0x30000001, 27):
        assert answer(program(machine=machine, gpu=True), machine, number, 0, command) == ALLOW
        assert answer(program(machine=machine), machine, number, 0, command) != ALLOW
    for command in (0x5412, 0xC020660B):
        assert answer(program(machine=machine, gpu=True), machine, number, 0, command) != ALLOW


@machines
def test_own_signals_reach_only_the_role_itself(machine: str) -> None:
    code = program(alone=True, own_signals=True, machine=machine)
    for name in ("kill", "tgkill", "rt_sigqueueinfo"):
        number = number_of(name, machine)
        assert answer(code, machine, number, PID_MARK, 9) == ALLOW
        assert answer(code, machine, number, PID_MARK + 1, 9) != ALLOW
        assert answer(code, machine, number, 2**32 - 1, 9) != ALLOW
    assert answer(code, machine, number_of("tkill", machine), PID_MARK) != ALLOW


@machines
def test_calls_of_another_machine_kind_end_the_process(machine: str) -> None:
    assert answer(program(machine=machine), machine, 0, arch=0x40000003) == KILL
    if machine == "x86_64":
        assert answer(program(machine=machine), machine, 0x40000000 | 41) & 0xFFFF0000 == ERRNO
