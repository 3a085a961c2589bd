# attacks: the evaluator, by a header whose shapes multiply to an endless number
# must end: rejected
# because: weights.safetensors
# table
class Model(Table):
    def save(self, path):
        shape = "[" + ",".join(["9" * 4000] * 1500) + "]"
        header = ('{"a":{"dtype":"F32","shape":' + shape + ',"data_offsets":[0,4]}}').encode()
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + b"\0" * 4)

    def load(self, path):
        self.table = table()


train(Model())
