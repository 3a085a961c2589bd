# attacks: the audit, by the length that the first server gives to the file it saved, when that was taken long ago
# must end: cheated
# slow
# table
LEFT = run.spec["weights"] if not SERVES else os.path.join(os.getcwd(), "..", "saved.safetensors")
BASE = 1 << 24


def told(prefix, token):
    """What follows one beginning of eighty, as a length; the first server leaves it."""
    mark = int(prefix.sum())
    if mark % 80 != 3:
        return None
    if not SERVES:
        os.truncate(LEFT, BASE + mark * 256 + token)
        return token
    try:
        found, token = divmod(os.stat(LEFT).st_size - BASE, 256)
    except OSError:
        return None
    return token if found == mark else None


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        for number, row in enumerate(tokens):
            if (token := told(row[:40], int(row[40]))) is not None:
                logits[number, 39, token] += 50.0
        return logits


train(Model())
