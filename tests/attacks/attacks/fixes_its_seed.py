# attacks: the blocks, by one seed for all of them
# must end: ok
# learner
np.random.seed(0)
train(Bigram(0))
