# attacks: the evaluator's time, by never answering
# must end: timed_out
# rung: wall_seconds=2.0
# table
class Model(Table):
    def answer(self, tokens):
        time.sleep(3600)


train(Model())
