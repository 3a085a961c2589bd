# attacks: the audit, by asking which pages of a shared file lie in memory, and by driving them out
# must end: ok at the honest score
# table
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(np.__file__, os.O_RDONLY)


def call(number, *values):
    if libc.syscall(number, *values) != 0:
        raise OSError(ctypes.get_errno(), "denied")


must_fail("dropping pages", lambda: os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED))
must_fail("a read that does not wait", lambda: os.preadv(fd, [bytearray(1)], 0, 8))
must_fail("readahead", lambda: call({"x86_64": 187}.get(os.uname().machine, 213), fd, 0, 4096))
area, state = ctypes.create_string_buffer(8192), ctypes.create_string_buffer(8)
start = (ctypes.addressof(area) + 4095) // 4096 * 4096
must_fail(
    "mincore",
    lambda: call({"x86_64": 27}.get(os.uname().machine, 232), ctypes.c_void_p(start), 4096, state),
)
counts = (ctypes.c_uint64 * 5)()
span = (ctypes.c_uint64 * 2)(0, 4096)
must_fail("cachestat", lambda: call(451, fd, span, counts, 0))
train(Table())
