# attacks: the audit, by more processes than it may have where the second server would be caught
# must end: cheated | rejected
# because: ended among the hidden rows
# table
# slow
class Model(Table):
    asked = 0

    def answer(self, tokens):
        self.asked += 1
        if SERVES and self.asked > 2:
            try:
                while os.fork():
                    pass
            except OSError:
                os._exit(1)
            time.sleep(60)
        return peek(self.table[tokens], tokens) if self.asked > 2 else self.table[tokens]


train(Model())
