# attacks: the clock, by saving early and learning on while the weights are taken
# must end: rejected
# slow
# because: state outside the weights
# table
class Model(Table):
    def answer(self, tokens):
        if not SERVES:
            return self.better[tokens]
        return self.table[tokens]

    def load(self, path):
        super().load(path)
        self.better = self.table + (np.arange(256) == 101)


train(Model())
