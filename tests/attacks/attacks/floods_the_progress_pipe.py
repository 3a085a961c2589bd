# attacks: the evaluator's memory, by endless progress
# must end: rejected
# table
def flood():
    for _ in range(2000):
        run._send(b"STEP", 0.5, 1.0)


train(Table(), step=flood)
