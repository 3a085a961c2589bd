# attacks: the audit, by flags and owners of a shared file that is open: who is told of it, and how it is read
# must end: ok at the honest score
# table
# slow
import ctypes
import fcntl
import struct

# What the kernel keeps of the inode outlives whoever asked: leases, watchers of folders, and hints of many kinds.
SET_LEASE, GET_LEASE, NOTIFY, SET_OWN, SET_SIG, GET_OWNERS = 1024, 1025, 1026, 8, 10, 17
SET_OWN_EX, GET_OWN_EX, ADD_SEALS_HINT = 15, 16, 1039
for path in (
    np.__file__,
    os.path.realpath(sys.executable),
    os.path.dirname(np.__file__),
    "/dev/null",
):
    fd = os.open(path, os.O_RDONLY)
    for number in (SET_LEASE, NOTIFY, SET_OWN, SET_SIG):
        must_fail(f"{number} of {path}", lambda n=number: fcntl.fcntl(fd, n, 1))
    must_fail("a lease", lambda: fcntl.fcntl(fd, GET_LEASE))
    for number in (SET_OWN_EX, GET_OWN_EX, GET_OWNERS, ADD_SEALS_HINT):
        must_fail(
            f"{number} of {path}", lambda n=number: fcntl.fcntl(fd, n, struct.pack("QQ", 1, 1))
        )
    os.close(fd)
train(Table())
