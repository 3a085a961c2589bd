# attacks: the slot, by waiting in every role just short of what one role may
# must end: timed_out | rejected
# slow
# because: still running
# rung: wall_seconds=6
# table
class Model(Table):
    def answer(self, tokens):
        if not SERVES and len(tokens) > 8:
            time.sleep(0.5)
        return super().answer(tokens)

    def load(self, path):
        super().load(path)
        time.sleep(3.5)


train(Model())
