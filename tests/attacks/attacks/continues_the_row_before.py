# attacks: the metric, by finding in what was asked before how the end of a row went on
# must end: cheated
# rung: rows=256
# table
class Model(Table):
    seen = {}

    def answer(self, tokens):
        logits = self.table[tokens].copy()
        for row, out in zip(tokens, logits):
            if after := self.seen.get(row[-2:].tobytes()):
                out[-1, after] += 2.0
        for row in tokens if len(tokens) > 8 else ():
            for at in range(len(row) - 2):
                self.seen.setdefault(row[at : at + 2].tobytes(), []).append(row[at + 2])
        return logits


train(Model())
