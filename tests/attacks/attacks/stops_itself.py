# attacks: the slot, by stopping its own process so that nothing goes on
# must end: timed_out
# rung: wall_seconds=2.0
# table
# slow
import signal

train(Table(), end=lambda: os.kill(os.getpid(), signal.SIGSTOP))
