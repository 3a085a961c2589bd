# attacks: the clock, by short children of a process that asks the kernel to keep none of them
# must end: timed_out | crashed
# rung: grace_seconds=0.9
# table
# slow
import ctypes
import struct

NUMBER = 13 if os.uname().machine == "x86_64" else 134


def hire():
    no_children_wait = struct.pack("QQQQ", 0, 2, 0, 0)  # SA_NOCLDWAIT, by the bare call
    ctypes.CDLL(None).syscall(NUMBER, 17, no_children_wait, None, 8)
    for _ in range(250):
        told, tell = os.pipe()
        if os.fork() == 0:
            burn(0.006)
            os._exit(0)
        os.close(tell)
        os.read(told, 1)
        os.close(told)


train(Table(), end=hire)
