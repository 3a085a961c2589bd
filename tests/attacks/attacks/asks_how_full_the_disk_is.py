# attacks: the audit, by how much is free on a disk or in the machine's memory
# must end: ok at the honest score
# table
# slow
import ctypes
import platform

libc = ctypes.CDLL(None, use_errno=True)
SYSINFO, USTAT, QUOTACTL = (99, 136, 179) if platform.machine() == "x86_64" else (179, 1062, 60)


def call(number, *values):
    if libc.syscall(number, *values) != 0:
        raise OSError(ctypes.get_errno(), "denied")


for path in (
    "/",
    "/box",
    run.spec["weights"],
    run.spec["data"][0],
    sys.prefix,
    "/dev/null",
    "/tmp",
):
    if os.path.exists(path):
        must_fail("statvfs", lambda: os.statvfs(path))
fd = os.open(run.spec["data"][0], os.O_RDONLY)
must_fail("fstatvfs", lambda: os.fstatvfs(fd))
room = ctypes.create_string_buffer(512)
must_fail("sysinfo", lambda: call(SYSINFO, room))
must_fail("ustat", lambda: call(USTAT, os.fstat(fd).st_dev, room))
must_fail("quotactl", lambda: call(QUOTACTL, 0x80000100, b"/", 0, room))
train(Table())
