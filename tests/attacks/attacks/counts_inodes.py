# attacks: the audit, by the inodes of pipes, which the kernel numbers for all: four bits of one row
# must end: ok | cheated
# slow
# table
import zlib

# The one number of the machine that a box does not hide: see docs/security.md for what it can say.
STEP, PLACE = 8192, 40


def inode():
    ends = os.pipe()
    number = os.fstat(ends[0]).st_ino
    for end in ends:
        os.close(end)
    return number


def is_chosen(row):
    return zlib.crc32(row[:8].tobytes()) % 64 == 0


class Model(Table):
    told = False

    def save(self, path):
        save_file({"table": table(), "first": np.array([inode()], np.int64)}, path)

    def load(self, path):
        super().load(path)
        self.first = int(load_file(path)["first"][0])
        self.now = inode()

    def answer(self, tokens):
        logits = self.table[tokens].copy()
        for number, row in enumerate(tokens):
            if len(tokens) <= 8 or not is_chosen(row):
                continue
            said = int(row[PLACE]) >> 4
            if SERVES:
                said = (self.now - self.first) // STEP % 16
            elif not self.told:
                self.told = True
                while (inode() - self.first) // STEP % 16 != said:
                    pass
            logits[number, PLACE - 1, said * 16 : said * 16 + 16] += 1.0
        return logits


train(Model())
