# attacks: the clock, by the mark of a saved model long before there is one
# must end: rejected
# because: weights.safetensors
# table
# slow
def claim():
    run._send(b"SAVE", 1.0, 0.0)


claim()
train(Table(), step=lambda: burn(0.5))
