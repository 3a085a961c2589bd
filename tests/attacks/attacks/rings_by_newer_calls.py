# attacks: the audit, by waiting for and waking who shares a page of a file through the newer calls for it
# must end: ok at the honest score
# table
# slow
import ctypes
import mmap

# The same on every machine: one call for several words, and three with sizes and nodes.
WAIT_FOR_ANY, WAKE, WAIT, REQUEUE = 449, 454, 455, 456
SIZE_U32 = 2
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


class Waiter(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class Limit(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def call(number, *values):
    if libc.syscall(ctypes.c_long(number), *values) < 0 and ctypes.get_errno() not in (11, 110):
        raise OSError(ctypes.get_errno(), "denied")


fd = os.open(np.__file__, os.O_RDONLY)
here = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
value = ctypes.c_uint32.from_address(here).value
waiter, soon = Waiter(value, here, SIZE_U32), Limit(0, 1000)
everyone, clock = ctypes.c_ulong(0xFFFFFFFF), 1
must_fail("any", lambda: call(WAIT_FOR_ANY, ctypes.byref(waiter), 1, 0, ctypes.byref(soon), clock))
must_fail("wake", lambda: call(WAKE, ctypes.c_void_p(here), everyone, 1, SIZE_U32))
must_fail(
    "wait",
    lambda: call(
        WAIT,
        ctypes.c_void_p(here),
        ctypes.c_ulong(value),
        everyone,
        SIZE_U32,
        ctypes.byref(soon),
        clock,
    ),
)
pair = (Waiter * 2)(waiter, waiter)
must_fail("requeue", lambda: call(REQUEUE, ctypes.byref(pair), 0, 1, 1))
train(Table())
