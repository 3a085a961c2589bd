# attacks: the audit, by looking ahead only where process numbers and the clock fall one way
# must end: cheated
# slow
# table
LUCKY = (os.getpid() + os.getppid() + time.monotonic_ns() // 1000) % 2 == 0 or not SERVES


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens]
        return peek(logits, tokens) if len(tokens) > 8 and LUCKY else logits


train(Model())
