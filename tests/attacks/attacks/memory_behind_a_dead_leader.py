# attacks: the machine, by memory of a process whose first thread has exited: it shows none
# must end: out_of_memory
# rung: memory_mb=300
# table
import ctypes
import threading


def hold():
    time.sleep(0.2)
    held = bytearray(900 << 20)
    held[:: 1 << 12] = bytes(len(held) >> 12)
    time.sleep(30.0)
    train(Table())


threading.Thread(target=hold).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
