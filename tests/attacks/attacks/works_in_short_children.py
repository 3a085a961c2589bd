# attacks: the clock, by many processes too short to be seen
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
# slow
def hire():
    for _ in range(120):
        if os.fork() == 0:
            burn(0.02)
            os._exit(0)
        os.wait()


train(Table(), end=hire)
