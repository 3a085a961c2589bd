# attacks: the weights, by state that is not saved
# must end: rejected
# because: state outside the weights
# table
class Model(Table):
    bonus = 0.0

    def answer(self, tokens):
        return self.table[tokens] + self.bonus * (np.arange(256) == 101)


model = Model()


def learn():
    model.bonus = 1.0


train(model, step=learn)
