# attacks: the evaluator's memory, by an endless reply
# must end: rejected
# table
class Model(Table):
    def answer(self, tokens):
        while True:
            os.write(run.spec["reply_fd"], b"\0" * 65536)


train(Model())
