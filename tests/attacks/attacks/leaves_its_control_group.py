# attacks: the clock, by leaving the group that counts its time, and by a child that is born in another
# must end: ok at the honest score
# table
import ctypes
import glob
import platform

CLONE3, UNSHARE, SETNS, MOUNT = (
    (435, 272, 308, 165) if platform.machine() == "x86_64" else (435, 97, 268, 40)
)
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *values):
    if libc.syscall(number, *values) < 0:
        raise OSError(ctypes.get_errno(), "denied")


def move(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))


for top in ("/sys/fs/cgroup", "/cgroup", "/dev/cgroup"):
    for name in ("cgroup.procs", "tasks", "release_agent", "*/cgroup.procs", "*/tasks"):
        for path in (f"{top}/{name}", *glob.glob(f"{top}/{name}")):
            must_fail(path, lambda: move(path))
born = (ctypes.c_uint64 * 11)(0x200000000, *[0] * 9, 3)  # CLONE_INTO_CGROUP
must_fail("a birth elsewhere", lambda: call(CLONE3, born, 88))
must_fail("a name space", lambda: call(UNSHARE, 0x02000000))
must_fail("another's name space", lambda: call(SETNS, 0, 0x02000000))
must_fail("a mount", lambda: call(MOUNT, b"x", b"/tmp", b"cgroup2", 0, None))
train(Table())
