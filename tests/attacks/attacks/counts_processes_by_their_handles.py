# attacks: the audit, by the inodes of handles of processes, which count all that the machine ever had
# must end: ok at the honest score
# slow
# table
import ctypes
import platform
import signal
import socket

X86 = platform.machine() == "x86_64"
CLONE, PIDFD_OPEN = (56 if X86 else 220), 434
SO_PEERPIDFD, SO_PASSPIDFD = 77, 76
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *values):
    got = libc.syscall(number, *values)
    if got < 0:
        raise OSError(ctypes.get_errno(), "denied")
    return got


def clone_with_a_handle():
    handle = ctypes.c_int(-1)
    got = call(CLONE, 0x1000 | signal.SIGCHLD, None, ctypes.byref(handle), None, None)
    if got == 0:
        os._exit(0)


one, other = socket.socketpair()
must_fail("pidfd_open", lambda: call(PIDFD_OPEN, os.getpid(), 0))
must_fail("clone", clone_with_a_handle)
must_fail("a peer", lambda: one.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, 4))
must_fail("a sender", lambda: one.setsockopt(socket.SOL_SOCKET, SO_PASSPIDFD, 1))
train(Table())
