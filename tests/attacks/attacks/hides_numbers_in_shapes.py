# attacks: the count of parameters, by keeping numbers in the shapes of tensors that hold nothing
# must end: ok at the honest score
# slow
# parameters: 239130
# table
DIMENSIONS, BYTES = 10, 4  # a tensor; a dimension


class Model(Table):
    def save(self, path):
        raw, entries, end = table().tobytes(), {}, 0
        for at in range(0, len(raw), DIMENSIONS * BYTES):
            piece = np.frombuffer(raw[at : at + DIMENSIONS * BYTES], dtype=np.uint32).tolist()
            entries[f"e{at}"] = {"dtype": "U8", "shape": [0, *piece], "data_offsets": [end, end]}
            entries[f"f{at}"] = {"dtype": "U8", "shape": [1], "data_offsets": [end, end + 1]}
            end += 1
        header = json.dumps(entries, separators=(",", ":")).encode()
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + bytes(end))

    def load(self, path):
        with open(path, "rb") as file:
            entries = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        places = sorted(int(name[1:]) for name in entries if name[0] == "e")
        numbers = [n for place in places for n in entries[f"e{place}"]["shape"][1:]]
        self.table = np.array(numbers, dtype=np.uint32).view(np.float32).reshape(256, 256)


train(Model())
