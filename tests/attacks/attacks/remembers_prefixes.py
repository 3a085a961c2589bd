# attacks: the audit, by remembering every beginning it was ever shown
# must end: cheated
# fresh roles
# table
class Model(Table):
    seen = {}

    def answer(self, tokens):
        logits = self.table[tokens].copy()
        for row in tokens:
            for end in range(1, len(row)):
                self.seen[row[:end].tobytes()] = row[end]
        for number, row in enumerate(tokens):
            for end in range(1, len(row)):
                logits[number, end - 1, self.seen[row[:end].tobytes()]] += 50.0
        return logits


train(Model())
