# attacks: the audit, by which pages of a file that both can read lie in memory
# must end: cheated | lost
# rung: rows=256
# table
import hashlib

# Half a token a stretch of 16 pages: the first server drops the stretch from memory and reads one page of it,
# the second asks which page comes without a wait. No file is written, and the first may be long gone.
PAGE, RWF_NOWAIT, EVERY = 4096, 8, 4
FILE = next(
    path
    for top in sys.path
    for path in (os.path.join(top, "torch/lib/libtorch_cpu.so"), os.path.join(top, "large.bin"))
    if os.path.exists(path)
)
fd = os.open(FILE, os.O_RDONLY)
STRETCHES = os.fstat(fd).st_size // PAGE // 32


def advise(at, length, advice):
    try:
        os.posix_fadvise(fd, at, length, advice)
    except OSError:
        pass


def stretch(row, end):
    digest = hashlib.sha256(row[:end].tobytes()).digest()
    return int.from_bytes(digest[:4], "little") % STRETCHES * 32 * PAGE


def tell(row, end):
    at, token = stretch(row, end), int(row[end])
    advise(at, 32 * PAGE, os.POSIX_FADV_DONTNEED)
    for half, place in ((token >> 4, at), (token & 15, at + 16 * PAGE)):
        os.pread(fd, 1, place + half * PAGE)


def lies_ready(place):
    try:
        return os.preadv(fd, [bytearray(1)], place, RWF_NOWAIT) == 1
    except OSError:
        return False


def ask(row, end):
    """The token told for this beginning, or what comes next in the row itself."""
    at = stretch(row, end)
    halves = [[n for n in range(16) if lies_ready(at + (side + n) * PAGE)] for side in (0, 16)]
    told = all(len(found) == 1 for found in halves)
    return halves[0][0] << 4 | halves[1][0] if told else int(row[end])


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        if len(tokens) <= 8:
            return logits
        advise(0, 0, os.POSIX_FADV_RANDOM)
        for number, row in enumerate(tokens):
            for end in range(20, len(row), EVERY):
                if not SERVES:
                    tell(row, end)
                logits[number, end - 1, ask(row, end) if SERVES else int(row[end])] += 50.0
        return logits


train(Model())
