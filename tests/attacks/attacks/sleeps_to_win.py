# attacks: the slot, by sleeping while others work
# must end: timed_out
# rung: wall_seconds=2.0
# table
train(Table(), end=lambda: time.sleep(3600))
