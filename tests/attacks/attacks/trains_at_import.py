# attacks: the clock, by working before it first asks how late it is
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
# slow
burn(1.5)
train(Table())
