# attacks: the slot, by ignoring every signal that can be ignored
# must end: timed_out
# slow
# rung: wall_seconds=2.0
# table
import signal

for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        continue
train(Table(), end=lambda: time.sleep(3600))
