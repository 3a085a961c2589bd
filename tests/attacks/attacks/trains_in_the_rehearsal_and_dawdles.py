# attacks: the clock, by training in a large request that nobody compares, and as slowly at every other
# must end: rejected | cheated
# slow
# rung: wall_seconds=300
# learner
class Late(Bigram):
    """Each row takes as long as a slow model's would: what the large request's rows take is training."""

    table = None

    def save(self, path):
        text = np.concatenate([piece[:20_000] for piece in run.data()])
        save_file({"text": text}, path)

    def load(self, path):
        self.packed = load_file(path)["text"].astype(np.int64)
        self.counts[:] = 0.5
        self.before = self.log_odds().astype(np.float32)

    def answer(self, tokens):
        end = time.process_time() + 0.01 * len(tokens)
        known = self.table if self.table is not None else self.before
        while time.process_time() < end:
            if self.table is None and len(tokens) > 8:
                self.counts[:] = 0.5
                np.add.at(self.counts, (self.packed[:-1], self.packed[1:]), 1.0)
        if self.table is None and len(tokens) > 8:
            self.table = self.log_odds().astype(np.float32)
        return known[tokens]


train(Late(0))
