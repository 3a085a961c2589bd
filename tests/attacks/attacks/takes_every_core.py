# attacks: the clock, by allowing itself all cores and working on each
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
# slow
def hire():
    try:
        os.sched_setaffinity(0, range(os.cpu_count()))
    except OSError:
        pass
    for _ in range(os.cpu_count()):
        if os.fork() == 0:
            burn(1.0)
            os._exit(0)
    for _ in range(os.cpu_count()):
        os.wait()


train(Table(), end=hire)
