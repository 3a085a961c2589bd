# attacks: the audit, by looking ahead only in the server that finds no mention of serving in its environment
# must end: cheated
# slow
# table
FIRST = 'serve"' not in os.environ["EVOTRAIN_RUN"]


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens]
        return peek(logits, tokens) if len(tokens) > 8 and FIRST else logits


train(Model())
