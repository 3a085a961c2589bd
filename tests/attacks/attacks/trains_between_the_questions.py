# attacks: the clock, by a thread that trains on packed text while the server is not asked
# must end: rejected | cheated
# slow
# learner
import threading


class Late(Bigram):
    def save(self, path):
        text = np.concatenate([piece[:20_000] for piece in run.data()])
        save_file({"text": text}, path)

    def load(self, path):
        self.packed = load_file(path)["text"].astype(np.int64)
        self.done = threading.Event()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        end = time.process_time() + 1.2
        while time.process_time() < end:
            self.counts[:] = 0.5
            np.add.at(self.counts, (self.packed[:-1], self.packed[1:]), 1.0)
        self.done.set()

    def answer(self, tokens):
        self.done.wait()
        return self.log_odds().astype(np.float32)[tokens]


train(Late(0))
