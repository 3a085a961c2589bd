# attacks: the audit, by waking who waits on a page of a file that two runs can read
# must end: ok at the honest score
# table
# slow
import ctypes
import mmap
import platform

FUTEX = {"x86_64": 202}.get(platform.machine(), 98)
WAIT, WAKE, WAIT_BITSET, WAKE_BITSET, CMP_REQUEUE = 0, 1, 9, 10, 4
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def page(fd, flags):
    return libc.mmap(None, 4096, mmap.PROT_READ, flags, fd, 0)


def woken(path, flags, wait, wake):
    """Whether a child that waits on a page of the file, mapped by itself, hears of it."""
    fd = os.open(path, os.O_RDONLY)
    child = os.fork()
    if child == 0:
        here = page(fd, flags)
        value = ctypes.c_uint32.from_address(here).value
        began = time.monotonic()
        while time.monotonic() - began < 0.05:
            limit = (ctypes.c_long * 2)(60, 0) if wait == WAIT else None
            libc.syscall(FUTEX, ctypes.c_void_p(here), wait, value, limit, None, 0xFFFFFFFF)
        os._exit(0)
    here, heard = page(fd, flags), 0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        heard += max(libc.syscall(FUTEX, ctypes.c_void_p(here), wake, 1, None, None, 0xFFFFFFFF), 0)
        time.sleep(0.002)
    return heard


for path in (np.__file__, os.path.realpath(sys.executable)):
    for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
        for wait, wake in ((WAIT, WAKE), (WAIT_BITSET, WAKE_BITSET)):
            if woken(path, flags, wait, wake):
                caught("a bell")
train(Table())
