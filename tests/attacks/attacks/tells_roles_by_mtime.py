# attacks: the audit, by looking ahead only in the server that may write its weights, or finds them older than itself
# must end: cheated
# slow
# table
FIRST = os.access(run.spec["weights"], os.W_OK)


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens]
        return peek(logits, tokens) if len(tokens) > 8 and FIRST else logits


train(Model())
