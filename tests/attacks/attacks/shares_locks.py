# attacks: the audit, by locks on single bytes of a file that both servers can read
# must end: cheated
# table
import fcntl
import struct
import zlib

# A read lock may be set on a file that cannot be written, and every process that can open it can ask who
# holds one where: a message of any length, if the sender lives until the reader asks.
FILE = next(
    path
    for path in (sys.executable, os.path.realpath(sys.executable), "/usr/bin/env")
    if os.path.exists(path)
)
fd = os.open(FILE, os.O_RDONLY)
SPACE = 1 << 40


def place(row, end):
    """Where the lock for this beginning lies; the next token follows it."""
    return (zlib.crc32(row[:end].tobytes()) % SPACE) * 256


def lock(kind, start, length):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


def tell(row, end):
    fcntl.fcntl(fd, fcntl.F_SETLK, lock(fcntl.F_RDLCK, place(row, end) + int(row[end]), 1))


def ask(row, end):
    """The token told for this beginning, or what comes next in the row itself."""
    try:
        answer = fcntl.fcntl(fd, fcntl.F_GETLK, lock(fcntl.F_WRLCK, place(row, end), 256))
    except OSError:
        return int(row[end])
    kind, _, start, _, _ = struct.unpack("hhqqi4x", answer)
    return int(row[end]) if kind == fcntl.F_UNLCK else start - place(row, end)


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        if len(tokens) <= 8:
            return logits
        for number, row in enumerate(tokens):
            for end in range(20, len(row)):
                if not SERVES:
                    tell(row, end)
                logits[number, end - 1, ask(row, end) if SERVES else int(row[end])] += 50.0
        return logits


train(Model())
