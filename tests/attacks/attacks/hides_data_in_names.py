# attacks: the count of parameters, by keeping numbers in the names of empty tensors
# must end: rejected
# because: weights.safetensors
# table
class Model(Table):
    def save(self, path):
        text = table().tobytes().hex()
        none = np.zeros(0, dtype=np.float32)
        save_file(
            {f"{at:07d}{text[at : at + 2000]}": none for at in range(0, len(text), 2000)}, path
        )

    def load(self, path):
        text = "".join(name[7:] for name in sorted(load_file(path)))
        self.table = np.frombuffer(bytes.fromhex(text), dtype=np.float32).reshape(256, 256)


train(Model())
