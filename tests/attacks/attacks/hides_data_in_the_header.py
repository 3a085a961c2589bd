# attacks: the count of parameters, by keeping numbers in the metadata of the weights
# must end: rejected
# because: weights.safetensors
# table
from safetensors import safe_open


class Model(Table):
    def save(self, path):
        one = np.zeros(1, dtype=np.float32)
        save_file({"one": one}, path, metadata={"table": table().tobytes().hex()})

    def load(self, path):
        with safe_open(path, framework="numpy") as file:
            raw = bytes.fromhex(file.metadata()["table"])
        self.table = np.frombuffer(raw, dtype=np.float32).reshape(256, 256)


train(Model())
