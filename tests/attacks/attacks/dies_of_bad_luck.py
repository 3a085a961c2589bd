# attacks: the choice of runs, by a first server that ends where the hidden text suits it badly
# must end: cheated
# because: ended among the hidden rows
# table
class Model(Table):
    asked = 0

    def answer(self, tokens):
        self.asked += 1
        logits = self.table[tokens]
        if self.asked > 2 and not SERVES or self.asked > 2 and luck(logits, tokens) > 3.0:
            return logits * np.inf
        return logits


def luck(logits, tokens):
    """The cost of what it can see of the truth."""
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -float(np.take_along_axis(logp[:, :-1], tokens[:, 1:, None], -1).mean())


train(Model())
