# attacks: the clock, by training at the first question on text packed into the weights
# must end: rejected
# because: beside its answers
# slow
# learner
class Late(Bigram):
    packed = None

    def save(self, path):
        text = np.concatenate([piece[:20_000] for piece in run.data()])
        save_file({"text": text}, path)

    def load(self, path):
        self.packed = load_file(path)["text"].astype(np.int64)

    def answer(self, tokens):
        if self.packed is not None:
            end = (
                time.process_time() + 1.2
            )  # a model for which such work pays would take its time, too
            while time.process_time() < end:
                self.counts[:] = 0.5
                np.add.at(self.counts, (self.packed[:-1], self.packed[1:]), 1.0)
            self.table, self.packed = self.log_odds().astype(np.float32), None
        return self.table[tokens]


train(Late(0))
