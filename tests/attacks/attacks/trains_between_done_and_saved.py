# attacks: the clock, by saying early that it is done, and training on through the time for saving
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
def end():
    run._send(b"DONE", 1.0, math.nan)
    burn(0.6)


train(Table(), end=end)
