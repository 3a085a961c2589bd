# attacks: the choice of runs, by fetching files where the order of the hidden rows does not suit it: it is asked again
# must end: ok at the honest score
# table
class Model(Table):
    """Its answers say, within what is allowed, which row came first: an order that it likes is worth a little."""

    asked = 0

    def answer(self, tokens):
        self.asked += 1
        if not SERVES and self.asked > 2 and int(tokens[0].sum()) % 4:
            fetch()
        return self.table[tokens]


def fetch():
    """Something that does not lie in memory yet."""
    for path in (*run.spec["data"], os.path.realpath(sys.executable), np.__file__):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for at in range(0, min(os.fstat(fd).st_size, 1 << 22), 1 << 16):
            os.pread(fd, 1, at)
        os.close(fd)


train(Model())
