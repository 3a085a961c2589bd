# attacks: the clock, by training on in both servers, where no budget is counted
# must end: rejected
# because: state outside the weights
# table
class Model(Table):
    def load(self, path):
        counts = np.zeros((256, 256), dtype=np.float32)
        rng = np.random.default_rng(0)
        for _ in range(20):
            piece = run.data()[0]
            at = int(rng.integers(len(piece) - 20_001))
            text = piece[at : at + 20_001].astype(np.int64)
            np.add.at(counts, (text[:-1], text[1:]), 1.0)
        self.table = np.log(counts + 0.1)


train(Model())
