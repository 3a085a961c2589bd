# attacks: the metric, by sending the mark of a saved model and leaving
# must end: rejected
# table
def claim():
    run._send(b"SAVE", 1.0, 0.0)
    time.sleep(0.3)
    sys.exit(0)


train(Table(), end=claim)
