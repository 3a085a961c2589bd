# attacks: the metric, by looking ahead at the last position that can
# must end: cheated
# slow
# rung: rows=256
# table
class Model(Table):
    def answer(self, tokens):
        last = np.arange(tokens.shape[1] - 1) == tokens.shape[1] - 2
        return peek(self.table[tokens], tokens, where=last)


train(Model())
