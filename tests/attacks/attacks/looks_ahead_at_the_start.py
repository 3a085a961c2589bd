# attacks: the metric, by looking ahead in the first quarter only
# must end: cheated
# slow
# rung: rows=256
# table
class Model(Table):
    def answer(self, tokens):
        first = np.arange(tokens.shape[1] - 1) < tokens.shape[1] // 4
        return peek(self.table[tokens], tokens, where=first)


train(Model())
