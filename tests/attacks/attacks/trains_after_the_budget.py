# attacks: the clock, by working between the budget and the saving
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
train(Table(), end=lambda: burn(1.5))
