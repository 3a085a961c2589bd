# attacks: the clock, by training at the first hidden rows, and as slowly at every other request
# must end: rejected | cheated
# rung: wall_seconds=300
# slow
# learner
class Late(Bigram):
    """Each row takes as long as a slow model's would: what the first hidden rows take is training."""

    asked, table = 0, None

    def save(self, path):
        text = np.concatenate([piece[:20_000] for piece in run.data()])
        save_file({"text": text}, path)

    def load(self, path):
        self.packed = load_file(path)["text"].astype(np.int64)
        self.counts[:] = 0.5
        self.before = self.log_odds().astype(np.float32)

    def answer(self, tokens):
        self.asked += len(tokens)
        work = 1.1  # for a model that is worth as much
        hidden = self.asked > 8 + 64 or (run.spec["role"] == "serve" and self.asked > 8)
        end = time.process_time() + max(
            0.01 * len(tokens), work if hidden and self.table is None else 0.0
        )
        while time.process_time() < end:
            if hidden and self.table is None:
                self.counts[:] = 0.5
                np.add.at(self.counts, (self.packed[:-1], self.packed[1:]), 1.0)
        if hidden and self.table is None:
            self.table = self.log_odds().astype(np.float32)
        return (self.table if hidden else self.before)[tokens]


train(Late(0))
