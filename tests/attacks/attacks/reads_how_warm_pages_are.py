# attacks: the audit, by which pages of a library the kernel calls active: the first server reads some twice
# must end: cheated
# slow
# table
import ctypes
import hashlib

# Eight pages a token, one token a row, marked by reading and seen by mapping, which shows how warm they were before.
PAGE, PLACE = 4096, 32
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBRARIES = (os.path.join(top, "torch/lib/libtorch_cpu.so") for top in sys.path)
FILE = next(filter(os.path.exists, LIBRARIES), np.linalg._umath_linalg.__file__)
fd = os.open(FILE, os.O_RDONLY)
known = {}
PAGES = os.fstat(fd).st_size // PAGE


def places(row, end):
    digest = hashlib.sha256(row[:end].tobytes()).digest()
    start = int.from_bytes(digest[:4], "little") % (PAGES // 8) * 8
    return [start + bit for bit in range(8)]


def tell(row, end):
    for bit, place in enumerate(places(row, end)):
        for _ in range(4 * (int(row[end]) >> bit & 1)):
            os.pread(fd, PAGE, place * PAGE)
    for place in range(40):  # the kernel moves pages by the dozen
        os.pread(fd, PAGE, (PAGES - 1 - place) * PAGE)


def is_warm(place):
    here = libc.mmap(None, PAGE, 1, 1, fd, place * PAGE)
    ctypes.string_at(here, 1)
    with open("/proc/self/numa_maps") as maps:
        line = next(line for line in maps if line.startswith(f"{here:x} "))
    libc.munmap(ctypes.c_void_p(here), ctypes.c_size_t(PAGE))
    return "active=0" not in line


def ask(row, end):
    """The token told for this beginning. Looking once warms a page."""
    key = row[:end].tobytes()
    try:
        if key not in known:
            known[key] = sum(is_warm(place) << bit for bit, place in enumerate(places(row, end)))
    except OSError:
        known[key] = 0
    return known[key]


class Model(Table):
    asked = 0

    def answer(self, tokens):
        logits = self.table[tokens].copy()
        self.asked += len(tokens) > 8
        if len(tokens) == 8 or (not SERVES and self.asked < 2):  # nothing hidden yet
            return logits
        for number, row in enumerate(tokens):
            if not SERVES:
                tell(row, PLACE)
            told = ask(row, PLACE) if SERVES else int(row[PLACE])
            logits[number, PLACE - 1, told] += 50.0
        return logits


train(Model())
