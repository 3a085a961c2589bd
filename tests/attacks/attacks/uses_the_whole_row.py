# attacks: the metric, by counting the tokens of the whole row
# must end: cheated
# table
class Model(Table):
    def answer(self, tokens):
        counts = np.stack([np.bincount(row, minlength=run.vocab) for row in tokens])
        return self.table[tokens] + np.log1p(counts)[:, None, :]


train(Model())
