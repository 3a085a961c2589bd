# attacks: the clock, by short children that nobody waits for: their time is added to nobody's
# must end: timed_out | crashed
# slow
# rung: grace_seconds=0.9
# table
import signal


def hire():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(250):
        told, tell = os.pipe()
        if os.fork() == 0:
            burn(0.006)
            os._exit(0)
        os.close(tell)
        os.read(told, 1)
        os.close(told)


train(Table(), end=hire)
