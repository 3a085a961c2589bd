# attacks: the blocks, by telling the first from its seed and its text and treating it in a special way
# must end: ok
# learner
first = sum(len(piece) for piece in run.data()) % 997 + run.seed % 997
model = Bigram(first)
model.counts += 1.0 if first % 2 else 0.0
train(model)
