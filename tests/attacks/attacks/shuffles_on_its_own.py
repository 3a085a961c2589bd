# attacks: the blocks, by an order of its own that no block changes
# must end: ok
# learner
class Ordered(Bigram):
    at = 0

    def learn(self, rows=64):
        text = np.concatenate(run.data()[:3])
        part = text[self.at : self.at + rows * run.context + 1].astype(np.int64)
        self.at += rows * run.context
        np.add.at(self.counts, (part[:-1], part[1:]), 1.0)
        return 3.0, len(part) - 1


train(Ordered(0))
