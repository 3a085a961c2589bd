# attacks: the audit, by being told of what others do with a file
# must end: ok at the honest score
# table
# slow
import ctypes
import fcntl
import platform

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *values):
    if libc.syscall(number, *values) < 0:
        raise OSError(ctypes.get_errno(), "denied")


INOTIFY, FANOTIFY = (294, 300) if platform.machine() == "x86_64" else (26, 262)
fd = os.open(np.__file__, os.O_RDONLY)
folder = os.open(os.path.dirname(np.__file__), os.O_RDONLY)
must_fail("inotify", lambda: call(INOTIFY, 0))
must_fail("fanotify", lambda: call(FANOTIFY, 0x200, 0))
must_fail("a lease", lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK))
must_fail("a lease's state", lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE))
must_fail("notification", lambda: fcntl.fcntl(folder, fcntl.F_NOTIFY, 0x80000001))
must_fail("signals", lambda: fcntl.fcntl(fd, 10, 34))
must_fail("an owner", lambda: fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid()))
train(Table())
