# attacks: the clock, by orphans that fall to a foster parent which ignores their end
# must end: timed_out | crashed
# slow
# rung: grace_seconds=0.9
# table
import ctypes
import signal


def hire():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # children of children come to us
    for _ in range(250):
        told, tell = os.pipe()
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
                burn(0.006)
            os._exit(0)
        os.close(tell)
        os.read(told, 1)
        os.close(told)


train(Table(), end=hire)
