# attacks: the count of parameters, by keeping numbers in a gap that no tensor covers
# must end: rejected
# because: weights.safetensors
# table
class Model(Table):
    def save(self, path):
        data = b"\0" * 4 + table().tobytes() + b"\0" * 4
        end = len(data)
        header = json.dumps(
            {
                "first": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                "last": {"dtype": "F32", "shape": [1], "data_offsets": [end - 4, end]},
            }
        ).encode()
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + data)

    def load(self, path):
        with open(path, "rb") as file:
            skipped = int.from_bytes(file.read(8), "little") + 4
            raw = file.read()[skipped:-4]
        self.table = np.frombuffer(raw, dtype=np.float32).reshape(256, 256)


train(Model())
