# attacks: the audit, by more memory than it may have where the second server would be caught
# must end: cheated
# slow
# because: ended among the hidden rows
# rung: memory_mb=400
# table
class Model(Table):
    asked = 0

    def answer(self, tokens):
        self.asked += 1
        if SERVES and self.asked > 2:
            self.hoard = np.ones(100 << 20)
            time.sleep(60)
        return peek(self.table[tokens], tokens) if self.asked > 2 else self.table[tokens]


train(Model())
