# attacks: the audit, by stretches of a shared file that the kernel has looked up: told by copying, splicing, blocks
# must end: ok at the honest score
# table
# Where looking up a stretch marks it, whoever looks next is quicker or is told of it. A copy in memory has no map of
# blocks: its blocks, sizes and devices are the same before and after every way to read it.
# slow
def seen(path):
    found = os.stat(path)
    return found.st_blocks, found.st_size, found.st_blksize, found.st_dev, found.st_mtime_ns


def copy(fd):
    with open("copy", "wb") as target:
        os.copy_file_range(fd, target.fileno(), 1 << 16, 0)


def send(fd):
    with open("sent", "wb") as target:
        os.sendfile(target.fileno(), fd, 0, 1 << 16)


def splice(fd):
    one, other = os.pipe()
    os.splice(fd, other, 1 << 12, 0)
    os.close(one)
    os.close(other)


def punch(fd):
    os.posix_fallocate(fd, 0, 1 << 12)


for path in (np.__file__, os.path.realpath(sys.executable), *run.spec["data"][:1]):
    before = seen(path)
    fd = os.open(path, os.O_RDONLY)
    for way in (copy, send, splice):
        try:
            way(fd)
        except OSError:
            pass
    must_fail("a hole", lambda: punch(fd))
    must_fail("writing it", lambda: os.close(os.open(path, os.O_RDWR)))
    os.close(fd)
    if seen(path) != before:
        caught(f"reading marks {path}")
train(Table())
