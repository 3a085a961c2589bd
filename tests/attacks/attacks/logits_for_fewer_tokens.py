# attacks: the metric, by leaving out the hard positions
# must end: rejected
# because: shape
# table
# slow
class Model(Table):
    def answer(self, tokens):
        return self.table[tokens][:, : tokens.shape[1] // 2]


train(Model())
