# attacks: the audit, by looking ahead at one position of every row, where few cuts fall
# must end: cheated
# slow
# rung: rows=128
# table
class Model(Table):
    def answer(self, tokens):
        where = np.arange(tokens.shape[1] - 1) == 21
        return peek(self.table[tokens], tokens, where=where)


train(Model())
