# attacks: the audit, by answers that depend on how much was asked before
# must end: cheated
# rung: rows=256
# table
class Model(Table):
    asked = 0

    def answer(self, tokens):
        self.asked += 1
        return peek(self.table[tokens], tokens) if 1 < self.asked < 4 else self.table[tokens]


train(Model())
