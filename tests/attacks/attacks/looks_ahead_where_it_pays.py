# attacks: the metric, by looking ahead only at the dearest tokens
# must end: cheated
# slow
# rung: rows=256
# purpose: final
# table
class Model(Table):
    def answer(self, tokens):
        odds = self.table - np.log(np.exp(self.table).sum(1, keepdims=True))
        dear = odds[tokens[:, :-1], tokens[:, 1:]]
        return peek(self.table[tokens], tokens, where=dear < np.quantile(odds, 0.05))


train(Model())
