# attacks: the audit, by looking ahead only in the server that was given the descriptors of a trainer
# must end: cheated
# slow
# table
FIRST = run.spec["serve_after"] or run.spec["weights"].startswith("/proc")


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens]
        return peek(logits, tokens) if len(tokens) > 8 and FIRST else logits


train(Model())
