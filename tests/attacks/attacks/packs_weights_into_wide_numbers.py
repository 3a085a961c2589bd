# attacks: the count of parameters, by keeping two numbers in each wide one
# must end: ok at the honest score
# parameters: 65536
# table
class Model(Table):
    def save(self, path):
        save_file({"packed": table().view(np.int64)}, path)

    def load(self, path):
        self.table = load_file(path)["packed"].view(np.float32)


train(Model())
