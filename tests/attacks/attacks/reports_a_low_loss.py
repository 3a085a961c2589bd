# attacks: early stopping, by a loss that is always low
# must end: ok at the honest score
# table
train(Table(), step=lambda: run.report(1e-9, 10**12))
