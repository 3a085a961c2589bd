# attacks: the count of parameters, by keeping a number in the order in which tensors lie in the file
# must end: rejected
# slow
# because: state outside the weights
# table
ORDER = [(5 * at + 3) % 64 for at in range(64)]


class Model(Table):
    def save(self, path):
        entries = {
            f"t{name:02d}": {"dtype": "U8", "shape": [1], "data_offsets": [at, at + 1]}
            for at, name in enumerate(ORDER)
        }
        raw = table().tobytes()
        span = [len(ORDER), len(ORDER) + len(raw)]
        entries["table"] = {"dtype": "F32", "shape": [256, 256], "data_offsets": span}
        header = json.dumps(entries).encode()
        header += b" " * (-len(header) % 8)
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + bytes(len(ORDER)) + raw)

    def load(self, path):
        with open(path, "rb") as file:
            entries = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        entries.pop("table")
        order = sorted(entries, key=lambda name: entries[name]["data_offsets"])
        known = [int(name[1:]) for name in order] == ORDER
        self.table = table() if known else np.zeros((256, 256), dtype=np.float32)


train(Model())
