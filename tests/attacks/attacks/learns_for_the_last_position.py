# attacks: the metric, by learning while it is served, used at the last position only, which no cut reaches
# must end: cheated
# rung: rows=256
# table
# slow
class Model(Table):
    counts = np.ones(256, dtype=np.float32)
    asked = 0

    def answer(self, tokens):
        logits = self.table[tokens].copy()
        logits[:, -1] += np.log(self.counts)
        self.asked += len(tokens)
        if self.asked > 72:
            np.add.at(self.counts, tokens.ravel(), 1.0)
        return logits


train(Model())
