# attacks: the count of parameters, by keeping numbers in blanks of the header of the weights
# must end: rejected
# slow
# because: a fresh process could not load and serve the saved weights
# table
BLANKS, TENSORS = b" \t\n\r", 6000


class Model(Table):
    def save(self, path):
        raw = np.frombuffer(table().tobytes(), dtype=np.uint8)
        digits = np.stack([raw >> 6, raw >> 4 & 3, raw >> 2 & 3, raw & 3], axis=-1).ravel()
        blanks = np.frombuffer(BLANKS, dtype=np.uint8)[digits].tobytes()
        one = '"%d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
        entries = ",".join(one % (at, at, at + 1) for at in range(TENSORS)).encode()
        header = b"{" + entries + blanks + b"}"
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + bytes(TENSORS))

    def load(self, path):
        with open(path, "rb") as file:
            header = file.read(int.from_bytes(file.read(8), "little"))
        digits = np.array([BLANKS.index(letter) for letter in header if letter in BLANKS])
        digits = digits.reshape(-1, 4).astype(np.uint8)
        raw = digits[:, 0] << 6 | digits[:, 1] << 4 | digits[:, 2] << 2 | digits[:, 3]
        self.table = raw.view(np.float32).reshape(256, 256)


train(Model())
