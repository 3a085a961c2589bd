# attacks: the tolerance of the audit, by looking ahead a little less than it allows
# must end: cheated
# table
class Model(Table):
    def answer(self, tokens):
        return peek(self.table[tokens], tokens, bonus=0.0009)


train(Model())
