# attacks: the metric, by finite logits whose differences are not
# must end: diverged
# table
# slow
class Model(Table):
    def answer(self, tokens):
        return np.where(np.arange(run.vocab) % 2, 3e38, -3e38) + self.table[tokens]


train(Model())
