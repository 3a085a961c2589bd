# attacks: the count of parameters, by a model that keeps its numbers in the training text
# must end: rejected
# slow
# because: state outside the weights
# table
class Model(Table):
    def save(self, path):
        save_file({"nothing": np.zeros(1, dtype=np.float32)}, path)

    def load(self, path):
        pieces = run.data()
        self.table = np.zeros((256, 256), dtype=np.float32)
        for piece in pieces[:2]:
            text = piece[:200_000].astype(np.int64)
            np.add.at(self.table, (text[:-1], text[1:]), 1.0)
        self.table = np.log(self.table + 0.1)


train(Model())
