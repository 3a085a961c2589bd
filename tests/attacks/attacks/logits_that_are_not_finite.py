# attacks: the metric, by logits that are not numbers
# must end: diverged
# table
class Model(Table):
    def answer(self, tokens):
        return self.table[tokens] * np.nan


train(Model())
