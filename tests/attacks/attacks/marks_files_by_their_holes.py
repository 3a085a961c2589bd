# attacks: the audit, by which stretches of a shared file the file system has looked up
# must end: ok at the honest score
# slow
# table
import fcntl

FIEMAP, FIBMAP, GET_STATE, GET_FLAGS = 0xC020660B, 1, 0xC020662A, 0x80086601
for path in (np.__file__, os.path.realpath(sys.executable), run.spec["data"][0]):
    fd = os.open(path, os.O_RDONLY)
    for whence in (os.SEEK_HOLE, os.SEEK_DATA):
        must_fail("seeking a hole", lambda w=whence: os.lseek(fd, 0, w))
    for number in (FIEMAP, FIBMAP, GET_STATE, GET_FLAGS):
        must_fail("asking for extents", lambda n=number: fcntl.ioctl(fd, n, bytes(64)))
train(Table())
