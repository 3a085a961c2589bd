# attacks: the metric, by reading the next token off the row, everywhere
# must end: cheated
# table
class Model(Table):
    def answer(self, tokens):
        return peek(self.table[tokens], tokens)


train(Model())
