# attacks: the clock, by processes that no longer belong to it
# must end: timed_out
# slow
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
def hire():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            burn(30)
        os._exit(0)
    os.wait()
    time.sleep(600)


train(Table(), end=hire)
