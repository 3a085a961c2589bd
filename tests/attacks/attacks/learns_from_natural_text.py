# attacks: the metric, by learning only from rows that look like text, where probes do not
# must end: cheated
# rung: rows=256
# table
class Model(Table):
    counts = np.ones(256, dtype=np.float32)

    def answer(self, tokens):
        logits = self.table[tokens] + np.log(self.counts)
        for row in tokens:
            if len(tokens) > 8 and np.mean((row >= 97) & (row < 123)) > 0.6:
                np.add.at(self.counts, row, 1.0)
        return logits


train(Model())
