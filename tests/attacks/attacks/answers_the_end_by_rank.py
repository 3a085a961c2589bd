# attacks: the metric, by a last position that depends on where in the request a row stands
# must end: cheated
# table
# slow
class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        if len(tokens) > 8:
            logits[:, -1] += (
                0.01 * np.arange(len(tokens), dtype=np.float32)[:, None] * (np.arange(256) == 32)
            )
        return logits


train(Model())
