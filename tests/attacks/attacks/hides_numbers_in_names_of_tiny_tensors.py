# attacks: the count of parameters, by keeping numbers in the names of tensors that hold one number each
# must end: ok at the honest score
# slow
# parameters: 96471
# table
import base64


class Model(Table):
    def save(self, path):
        text, one = base64.b64encode(table().tobytes()).decode(), np.zeros(1, dtype=np.uint8)
        save_file({f"{at:06d}{text[at : at + 140]}": one for at in range(0, len(text), 140)}, path)

    def load(self, path):
        text = "".join(name[6:] for name in sorted(load_file(path)))
        self.table = np.frombuffer(base64.b64decode(text), dtype=np.float32).reshape(256, 256)


train(Model())
