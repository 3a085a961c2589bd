# attacks: the clock, by a helper that writes better weights once the old ones were said to be saved
# must end: rejected | timed_out
# slow
# rung: grace_seconds=0.1
# table
import struct

PAD = 60_000_000  # numbers that come first, so that taking the file needs a while


class Model(Table):
    def save(self, path):
        body = table().tobytes()
        spans = {"pad": (PAD, 0, 4 * PAD), "table": (65536, 4 * PAD, 4 * PAD + len(body))}
        entries = {
            name: {"dtype": "F32", "shape": [count], "data_offsets": span}
            for name, (count, *span) in spans.items()
        }
        header = json.dumps(entries).encode()
        self.at = 8 + len(header) + 4 * PAD
        with open(run.spec["weights"], "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.seek(self.at)
            file.write(body)

    def load(self, path):
        self.table = table()
        if SERVES:
            with open(path, "rb") as file:
                file.seek(-self.table.nbytes, 2)
                self.table = np.frombuffer(file.read(), "<f4").reshape(256, 256)

    def hand_over(self):
        self.save(None)
        self.load(None)
        target = os.open(run.spec["weights"], os.O_RDWR)
        self.table = self.table + (np.arange(256) == 101)
        body = self.table.astype("<f4").tobytes()
        if os.fork() == 0:
            keep_going()
            burn(0.15)  # to learn what is better
            while True:
                os.pwrite(target, body, self.at)
                time.sleep(0.001)
        run._send(b"SAVE", 1.0, math.nan)
        run.serve(self.answer)


def keep_going():
    pass


train(Model(), end=(lambda: None) if SERVES else Model().hand_over)
