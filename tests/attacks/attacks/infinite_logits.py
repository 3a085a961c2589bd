# attacks: the metric, by infinite logits for whatever comes
# must end: diverged
# table
class Model(Table):
    def answer(self, tokens):
        return np.full((*tokens.shape, run.vocab), np.inf)


train(Model())
