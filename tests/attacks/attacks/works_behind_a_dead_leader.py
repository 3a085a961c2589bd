# attacks: the clock, by workers of a process whose first thread has exited: it looks like a zombie
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
import ctypes
import threading


def hire():
    told, tell = os.pipe()
    if os.fork() == 0:
        burn(1.5)
        os.write(tell, b"x")
        time.sleep(600)
    os.read(told, 1)


def work():
    train(Table(), end=hire)


threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
