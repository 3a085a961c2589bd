# attacks: the audit, by looking ahead only in the server that has lived longer
# must end: cheated
# table
class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens]
        old = time.process_time() > run.spec["startup_seconds"] + run.spec["budget"] / 2
        return peek(logits, tokens) if len(tokens) > 8 and old else logits


train(Model())
