# attacks: the clock, by training while the weights are loaded, where compiling costs the seed much
# must end: rejected
# slow
# because: before it was ready
# compiled ahead: 3
# learner
class Late(Bigram):
    def save(self, path):
        text = np.concatenate([piece[:20_000] for piece in run.data()])
        save_file({"text": text}, path)

    def load(self, path):
        packed = load_file(path)["text"].astype(np.int64)
        end = time.process_time() + (1.5 if run.spec["role"] == "serve" else 0.0)
        while True:
            self.counts[:] = 0.5
            np.add.at(self.counts, (packed[:-1], packed[1:]), 1.0)
            if time.process_time() > end:
                break
        self.table = self.log_odds().astype(np.float32)


train(Late(0))
