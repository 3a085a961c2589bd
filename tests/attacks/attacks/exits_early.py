# attacks: the metric, by ending well before there is a model
# must end: rejected
# because: ended without run.finish
# table
train(Table(), end=lambda: sys.exit(0))
