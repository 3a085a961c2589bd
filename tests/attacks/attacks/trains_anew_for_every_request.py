# attacks: the clock, by training anew for every request, whatever it holds, on text packed into the weights
# must end: rejected
# because: beside its answers
# slow
# learner
class Late(Bigram):
    def save(self, path):
        text = np.concatenate([piece[:20_000] for piece in run.data()])
        save_file({"text": text}, path)

    def load(self, path):
        self.packed = load_file(path)["text"].astype(np.int64)

    def answer(self, tokens):
        end = time.process_time() + 0.25
        while True:
            self.counts[:] = 0.5
            np.add.at(self.counts, (self.packed[:-1], self.packed[1:]), 1.0)
            if time.process_time() > end:
                break
        return self.log_odds().astype(np.float32)[tokens]


train(Late(0))
