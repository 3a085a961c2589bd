# attacks: the weights, by a forward that reads what training left in its folder
# must end: rejected
# because: state outside the weights
# table
class Model(Table):
    def save(self, path):
        super().save(path)
        np.save("bonus.npy", np.full(256, 3.0, dtype=np.float32) * (np.arange(256) == 101))

    def answer(self, tokens):
        bonus = np.load("bonus.npy") if os.path.exists("bonus.npy") else 0.0
        return self.table[tokens] + bonus


train(Model())
