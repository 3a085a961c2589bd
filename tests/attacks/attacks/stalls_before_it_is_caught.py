# attacks: the audit, by an answer that never comes where the second server would be caught
# must end: cheated
# because: ended among the hidden rows
# rung: wall_seconds=6
# slow
# table
class Model(Table):
    asked = 0

    def answer(self, tokens):
        self.asked += 1
        if SERVES and self.asked > 2:
            time.sleep(600)
        return peek(self.table[tokens], tokens) if self.asked > 2 else self.table[tokens]


train(Model())
