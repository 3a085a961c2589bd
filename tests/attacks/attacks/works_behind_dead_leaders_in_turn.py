# attacks: the clock, by a chain of processes, each behind a dead first thread of its own
# must end: timed_out
# slow
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
import ctypes
import threading

EXIT = 60 if os.uname().machine == "x86_64" else 93


def chain(depth, tell):
    if depth == 0:
        burn(1.5)
        os.write(tell, b"x")
        time.sleep(600)
    if os.fork() == 0:
        threading.Thread(target=chain, args=(depth - 1, tell)).start()
        ctypes.CDLL(None).syscall(EXIT, 0)
    time.sleep(600)


def hire():
    told, tell = os.pipe()
    if os.fork() == 0:
        chain(3, tell)
    os.read(told, 1)


train(Table(), end=hire)
