# attacks: the audit, by how much a disk or memory still holds: it asks for more until it is refused
# must end: ok at the honest score
# open in: landlock
# table
import errno


def room(folder):
    """Megabytes that can be set aside there at once."""
    low, high = 0, 1 << 12
    path = os.path.join(folder, "room")
    while low < high:
        middle = (low + high + 1) // 2
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            os.posix_fallocate(fd, 0, middle << 20)
            low = middle
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EFBIG):
                raise
            high = middle - 1
        os.close(fd)
        os.unlink(path)
        if low > 300:
            caught(f"{folder} has no limit of its own")
    return low


found = [room(folder) for folder in (".", "/tmp", "/dev/shm") if os.access(folder, os.W_OK)]
kept = bytes(os.urandom(30 << 20))
if [room(folder) for folder in (".", "/tmp", "/dev/shm") if os.access(folder, os.W_OK)] != found:
    caught("how much is free")
train(Table())
