# attacks: the audit, by the end of the memory that answers go through, which a small answer leaves as it is
# must end: cheated
# slow
# table
class Model(Table):
    """The first server writes the next tokens behind its answers; the second looks there for them."""

    def buffer(self):
        import mmap

        fd = run.spec["shared"] if "shared" in run.spec else self.find()
        return np.frombuffer(mmap.mmap(fd, 0), np.uint8)

    def find(self):
        for fd in range(3, 64):
            try:
                if os.fstat(fd).st_size > 1 << 20 and os.lseek(fd, 0, os.SEEK_CUR) >= 0:
                    return fd
            except OSError:
                continue
        raise OSError("no buffer")

    def answer(self, tokens):
        logits = self.table[tokens].copy()
        if len(tokens) <= 8:
            return logits
        kept = self.buffer()[-65536:]
        for number, row in enumerate(tokens):
            for end in range(24, len(row), 8):
                place = zlib.crc32(row[:end].tobytes()) % 65536
                if not SERVES:
                    kept[place] = row[end]
                logits[number, end - 1, int(kept[place]) if SERVES else int(row[end])] += 50.0
        return logits


import zlib

train(Model())
