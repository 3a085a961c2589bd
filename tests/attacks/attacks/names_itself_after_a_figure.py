# attacks: the machine, by tables for gigabytes of nothing, under a name that reads like their size
# must end: out_of_memory
# rung: memory_mb=250 grace_seconds=20
# table
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t) + (ctypes.c_int,) * 3 + (ctypes.c_long,)


def read():
    libc.prctl(
        15, b"VmPTE: 0 kB", 0, 0, 0
    )  # what the kernel says of a process begins with its name
    size = 160 << 30
    start = libc.mmap(None, size, 1, 0x4022, -1, 0)  # PROT_READ, private, anonymous, no reserve
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), 15)  # no huge pages
    for at in range(0, size, 2 << 20):
        ctypes.c_char.from_address(start + at).value
    time.sleep(60)


train(Table(), end=read)
