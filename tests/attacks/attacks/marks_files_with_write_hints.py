# attacks: the audit, by how long what is written to a shared file is said to live
# must end: ok at the honest score
# slow
# table
import fcntl
import struct

F_GET_RW_HINT, F_SET_RW_HINT, F_GET_FILE_RW_HINT, F_SET_FILE_RW_HINT = 1035, 1036, 1037, 1038
for path in (np.__file__, os.path.realpath(sys.executable), __file__, "/dev/null"):
    fd = os.open(path, os.O_RDONLY)
    for number in (F_SET_RW_HINT, F_SET_FILE_RW_HINT):
        must_fail(path, lambda n=number: fcntl.fcntl(fd, n, struct.pack("Q", 3)))
    for number in (F_GET_RW_HINT, F_GET_FILE_RW_HINT):
        must_fail(path, lambda n=number: fcntl.fcntl(fd, n, bytes(8)))
train(Table())
