# attacks: the audit, by files that are busy: executed, locked or mapped by a process that still runs
# must end: ok at the honest score
# table
# slow
import fcntl


def answers(path):
    found = []
    for action in (
        lambda fd: os.close(os.open(path, os.O_WRONLY)),
        lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
        lambda fd: fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB),
        lambda fd: fcntl.fcntl(fd, 37, bytes(32)),  # a lock of an open file
        lambda fd: os.truncate(path, 0),
    ):
        fd = os.open(path, os.O_RDONLY)
        try:
            action(fd)
            found.append(0)
        except OSError as error:
            found.append(error.errno)
        os.close(fd)
    return found


for path in (os.path.realpath("/usr/bin/env"), os.path.realpath(sys.executable), np.__file__):
    if not os.path.exists(path):
        continue
    idle = answers(path)
    started, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        fd = os.open(path, os.O_RDONLY)
        for action in (
            lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
            lambda: fcntl.lockf(fd, fcntl.LOCK_SH),
        ):
            try:
                action()
            except OSError:
                pass
        os.write(started[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(started[0], 1)
    busy = answers(path)
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    if busy != idle:
        caught(path, str(idle), str(busy))
train(Table())
