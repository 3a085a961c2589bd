# attacks: the audit, by how many files a disk still holds, and by sizes that folders and mounts are given
# must end: ok at the honest score
# table
# Free inodes and blocks of a file system that two roles share are a number that one sets and the other reads. Here
# every number is asked for before and after 500 files and 5 MB are made in each place that can be written.
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
STATMOUNT, LISTMOUNT, OPEN_TREE = 457, 458, 428  # the same on every machine
SHARED = ("/", "/usr", sys.prefix, os.path.dirname(np.__file__), "/code", "/data", "/dev")


def numbers():
    told = []
    for path in filter(os.path.isdir, SHARED):
        found = os.stat(path)
        told.append((path, found.st_size, found.st_nlink, found.st_blocks, found.st_mtime_ns))
    return told


def call(number, *values):
    if libc.syscall(number, *values) < 0:
        raise OSError(ctypes.get_errno(), "denied")


def fill(folder):
    for number in range(500):
        open(os.path.join(folder, f"TARGET_MARK-{number}"), "wb").close()
    with open(os.path.join(folder, "TARGET_MARK-big"), "wb") as file:
        file.write(bytes(5 << 20))


before = numbers()
for folder in (".", "/tmp", "/dev/shm"):
    try:
        fill(folder)
    except OSError:
        pass
if numbers() != before:
    caught("what a folder that is shared says")
room = ctypes.create_string_buffer(4096)
for number in (STATMOUNT, LISTMOUNT):
    must_fail("mounts", lambda n=number: call(n, room, room, 4096, 0))
must_fail("a tree", lambda: call(OPEN_TREE, -100, b"/", 0))
for path in SHARED:
    if os.path.exists(path):
        must_fail("how full", lambda p=path: os.statvfs(p))
train(Table())
