# attacks: the count of parameters, by keeping numbers in more keys of each tensor's entry in the header
# must end: rejected
# slow
# because: a fresh process could not load and serve the saved weights
# table
import base64


class Model(Table):
    def save(self, path):
        text, entries, end = base64.b64encode(table().tobytes()).decode(), {}, 0
        for at in range(0, len(text), 160):
            entry = {"dtype": "U8", "shape": [1], "data_offsets": [end, end + 1]}
            entries[str(at)] = entry | {"note": text[at : at + 160]}
            end += 1
        header = json.dumps(entries, separators=(",", ":")).encode()
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + bytes(end))

    def load(self, path):
        with open(path, "rb") as file:
            entries = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        text = "".join(entries[name]["note"] for name in sorted(entries, key=int))
        self.table = np.frombuffer(base64.b64decode(text), dtype=np.float32).reshape(256, 256)


train(Model())
