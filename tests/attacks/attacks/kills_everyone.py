# attacks: the machine, by a signal to every process it can reach
# must end: crashed
# table
import signal


def kill():
    for pid in (-1, 0):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
    sys.exit("nobody to kill")


train(Table(), end=kill)
