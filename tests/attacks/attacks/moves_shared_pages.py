# attacks: the audit, by where in memory a shared page lies, whether it is one of many, merged or huge
# must end: ok at the honest score
# table
import ctypes
import mmap
import platform

X86 = platform.machine() == "x86_64"
MOVE, MBIND, POLICY, REMAP = (279, 237, 239, 216) if X86 else (239, 235, 236, 234)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
fd = os.open(os.path.realpath(sys.executable), os.O_RDONLY)
here = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
there, node = (ctypes.c_void_p * 1)(here), (ctypes.c_int * 1)(0)


def call(number, *values):
    if libc.syscall(number, *values) != 0:
        raise OSError(ctypes.get_errno(), "denied")


def advise(advice):
    if libc.madvise(here, 4096, advice) != 0:
        raise OSError(ctypes.get_errno(), "denied")


bytes(ctypes.string_at(here, 1))
must_fail("move_pages", lambda: call(MOVE, 0, 1, there, None, node, 0))
must_fail("mbind", lambda: call(MBIND, ctypes.c_void_p(here), 4096, 0, None, 0, 2))
must_fail("where it lies", lambda: call(POLICY, node, None, 0, ctypes.c_void_p(here), 3))
must_fail("remap_file_pages", lambda: call(REMAP, ctypes.c_void_p(here), 4096, 0, 0, 0))
for name, advice in {"cold": 20, "out": 21, "collapse": 25, "merge": 12, "poison": 100}.items():
    must_fail(name, lambda a=advice: advise(a))
must_fail("merging all", lambda: call(157 if X86 else 167, 67, 1, 0, 0, 0))
must_fail("huge pages", lambda: mmap.mmap(-1, 2 << 20, flags=0x40022))
must_fail("huge files", lambda: os.memfd_create("huge", 4))
train(Table())
