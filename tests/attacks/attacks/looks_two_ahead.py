# attacks: the metric, by a hint from the token after the next
# must end: cheated
# slow
# rung: rows=256
# table
class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        logits[:, :-2] += 0.5 * self.table[tokens[:, 2:]].mean(-1, keepdims=True) * self.table[0]
        return logits


train(Model())
