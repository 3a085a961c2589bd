# attacks: the machine, by shared memory and queues that outlive it
# must end: ok at the honest score
# table
# slow
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
libc.shmget(0x5EED5EED, 1 << 20, 0o1666)
libc.msgget(0x5EED5EED, 0o1666)
libc.semget(0x5EED5EED, 1, 0o1666)
try:
    with open("/dev/shm/TARGET_MARK-memory", "wb") as file:
        file.write(b"x" * 4096)
except OSError:
    pass  # refused: nothing can be left there
train(Table())
