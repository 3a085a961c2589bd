# attacks: the audit, by locks that are inherited, requeued or left behind by the dead, on pages of one file
# must end: ok at the honest score
# table
# slow
import ctypes
import mmap
import platform

FUTEX = {"x86_64": 202}.get(platform.machine(), 98)
SHARED = {"lock": 6, "unlock": 7, "try": 8, "wake": 1, "wake and change": 5, "requeue": 3}
SHARED |= {"compare and requeue": 4, "wait to inherit": 11, "requeue to inherit": 12, "lock 2": 13}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
fd = os.open(np.__file__, os.O_RDONLY)
here = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
limit = (ctypes.c_long * 2)(0, 1000)
for name, number in SHARED.items():
    woken = libc.syscall(FUTEX, ctypes.c_void_p(here), number, 1, limit, ctypes.c_void_p(here), 0)
    if woken > 0:
        caught(name)
# A list that the kernel walks at the end of a process: it would mark the word and wake who waits.
child = os.fork()
if child == 0:
    head = (ctypes.c_long * 3)(ctypes.addressof(ctypes.create_string_buffer(8)), 0, here)
    libc.syscall({"x86_64": 273}.get(platform.machine(), 99), ctypes.byref(head), 24)
    os._exit(0)
before = ctypes.c_uint32.from_address(here).value
os.waitpid(child, 0)
if ctypes.c_uint32.from_address(here).value != before:
    caught("a word that the dead left")
train(Table())
