# attacks: the clock, by processes that work for it
# must end: timed_out
# slow
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
def hire():
    for _ in range(2):
        if os.fork() == 0:
            burn(1.5)
            os._exit(0)
    os.wait()
    os.wait()


train(Table(), end=hire)
