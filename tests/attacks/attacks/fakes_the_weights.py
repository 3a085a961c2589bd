# attacks: the metric, by handing over bytes that are no weights
# must end: rejected
# because: weights.safetensors
# table
class Model(Table):
    def save(self, path):
        with open(path, "wb") as file:
            file.write(b"\xff" * 4096)

    def load(self, path):
        self.table = table()


train(Model())
