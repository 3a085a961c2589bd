# attacks: the audit, by sizes of files that the first server leaves, at which the second looks without opening any
# must end: rejected
# table
FIRST = os.path.join(os.getcwd(), "..", "train")


def told(prefix, token):
    """The token that follows, as the size of a file; the first server leaves it."""
    name = prefix.tobytes().hex()
    if not SERVES:
        with open(name, "wb") as file:
            file.write(bytes(token))
        return token
    try:
        return os.stat(f"{FIRST}/{name}").st_size
    except OSError:
        return None


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        for number, row in enumerate(tokens.astype(np.uint8)):
            for end in range(12, len(row)):
                token = told(row[:end], int(row[end]))
                if token is not None:
                    logits[number, end - 1, token] += 50.0
        return logits


train(Model())
