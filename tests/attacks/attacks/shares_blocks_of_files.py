# attacks: the audit, by blocks that two files share, by holes made in one, and by space set aside for it
# must end: ok at the honest score
# slow
# table
import ctypes
import fcntl

FICLONE, FICLONERANGE, FIDEDUPERANGE, MOVE, SWAP = (
    0x40049409,
    0x4020940D,
    0xC0189436,
    0xC028660F,
    0x6611,
)
KEEP_SIZE, PUNCH = 1, 2
libc = ctypes.CDLL(None, use_errno=True)


def allocate(fd, mode):
    if libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(4096)) != 0:
        raise OSError(ctypes.get_errno(), "denied")


with open("mine", "w+b") as mine:
    for path in (np.__file__, os.path.realpath(sys.executable), run.spec["data"][0]):
        fd = os.open(path, os.O_RDONLY)
        must_fail("a clone", lambda: fcntl.ioctl(mine.fileno(), FICLONE, fd))
        for number in (FICLONERANGE, FIDEDUPERANGE, MOVE, SWAP):
            must_fail("sharing", lambda: fcntl.ioctl(mine.fileno(), number, bytes(64)))
        for mode in (0, KEEP_SIZE, KEEP_SIZE | PUNCH):
            must_fail("space", lambda: allocate(fd, mode))
        must_fail("growing it", lambda: os.truncate(path, 1 << 30))
        must_fail("a second name", lambda: os.link(path, "/box/second"))
        os.close(fd)
train(Table())
