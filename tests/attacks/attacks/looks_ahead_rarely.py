# attacks: the metric, by looking ahead once in sixteen positions, chosen by the tokens before
# must end: cheated
# slow
# rung: rows=256
# table
class Model(Table):
    def answer(self, tokens):
        before = np.cumsum(tokens.astype(np.int64) ** 2 + 7, axis=1)[:, :-1]
        return peek(self.table[tokens], tokens, where=before * 2654435761 % 2**32 < 2**28)


train(Model())
