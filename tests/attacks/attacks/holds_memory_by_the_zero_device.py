# attacks: the machine, by shared pages of the device of zeros, of which one stays mapped
# must end: ok at the honest score
# slow
# rung: memory_mb=250 grace_seconds=20
# table
import ctypes
import mmap

libc = ctypes.CDLL(None, use_errno=True)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def share():
    size = 100 << 20
    for _ in range(8):
        shared = mmap.mmap(os.open("/dev/zero", os.O_RDWR), size)
        start = ctypes.addressof(ctypes.c_char.from_buffer(shared))
        for at in range(0, size, 1 << 20):
            shared[at : at + (1 << 20)] = bytes(1 << 20)
        libc.munmap(start + 4096, size - 4096)


must_fail("800 MB that nobody maps", share)
train(Table())
