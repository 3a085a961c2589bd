# attacks: the audit, by hints of a shared file asked for through other doors: upper halves, ioctls, io_uring
# must end: ok at the honest score
# table
# slow
import ctypes
import platform

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
FCNTL, IOCTL, RING, READAHEAD = (
    (72, 16, 425, 187) if platform.machine() == "x86_64" else (25, 29, 425, 213)
)
HIGH = 1 << 32  # what the kernel takes of a command is its lower half
GET_HINT, SET_HINT, GET_FILE_HINT, SET_FILE_HINT = 1035, 1036, 1037, 1038
GET_XFLAGS, SET_XFLAGS, GET_VERSION, SET_VERSION = 0x801C581F, 0x401C5820, 0x80087601, 0x40087602
hint = ctypes.create_string_buffer(b"\x03" + bytes(63), 64)


def call(number, *values):
    found = libc.syscall(ctypes.c_long(number), *values)
    if found < 0:
        raise OSError(ctypes.get_errno(), "denied")


for path in (np.__file__, os.path.realpath(sys.executable), __file__):
    fd = os.open(path, os.O_RDONLY)
    for command in (GET_HINT, SET_HINT, GET_FILE_HINT, SET_FILE_HINT):
        must_fail("a hint", lambda c=command: call(FCNTL, fd, ctypes.c_long(c | HIGH), hint))
    for command in (GET_XFLAGS, SET_XFLAGS, GET_VERSION, SET_VERSION):
        must_fail("a flag", lambda c=command: call(IOCTL, fd, ctypes.c_long(c | HIGH), hint))
    must_fail("reading ahead", lambda: call(READAHEAD, fd, ctypes.c_long(0), ctypes.c_long(4096)))
must_fail("a ring", lambda: call(RING, 8, ctypes.create_string_buffer(120)))
train(Table())
