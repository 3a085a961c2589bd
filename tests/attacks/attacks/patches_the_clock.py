# attacks: the clock, by patching time so that the harness never sees it run
# must end: timed_out
# rung: grace_seconds=0.5
# table
started = os.times()
os.times = lambda: started
time.monotonic = time.time = lambda: 0.0
train(Table())
