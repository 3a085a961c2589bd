# attacks: the audit, by names of files that the first server leaves, for which the second asks without opening any
# must end: rejected
# slow
# table
FIRST = os.path.join(os.getcwd(), "..", "train")


def told(prefix, token):
    """The token that follows, from whether a name is there; the first server leaves it."""
    name = prefix.tobytes().hex()
    if not SERVES:
        open(f"{name}-{token}", "w").close()
        return token
    names = (f"{FIRST}/{name}-{one}" for one in range(run.vocab))
    return next((one for one, path in enumerate(names) if os.path.exists(path)), None)


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        for number, row in enumerate(tokens.astype(np.uint8)):
            for end in range(12, min(len(row), 15)):
                token = told(row[:end], int(row[end]))
                if token is not None:
                    logits[number, end - 1, token] += 50.0
        return logits


train(Model())
