# attacks: the metric, by learning the hidden text as it is asked about
# must end: cheated
# rung: rows=256
# table
class Model(Table):
    counts = np.ones(256, dtype=np.float32)
    asked = 0

    def answer(self, tokens):
        logits = self.table[tokens] + np.log(self.counts)
        self.asked += len(tokens)
        if self.asked > 8:
            np.add.at(self.counts, tokens.ravel(), 1.0)
        return logits


train(Model())
