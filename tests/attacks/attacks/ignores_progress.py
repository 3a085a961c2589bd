# attacks: the clock, by not looking at it
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.5
# table
# slow
run.progress()
while True:
    burn(0.1)
    run.report(1.0, 1)
train(Table())
