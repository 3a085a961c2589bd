# attacks: the machine, by what lies in connections that a listener never accepts
# must end: out_of_memory
# must end in landlock: ok at the honest score
# rung: memory_mb=250 grace_seconds=20
# table
# slow
import socket

BLOCK = bytes(1 << 16)


def fill():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(b"\0one")
    listener.listen(4096)
    for _ in range(1200):
        with socket.socket(socket.AF_UNIX) as one:
            one.setblocking(False)
            one.connect(b"\0one")
            try:
                while True:
                    one.send(BLOCK)
            except BlockingIOError:
                pass
    time.sleep(60)


def filled():
    try:
        fill()
    except OSError:
        pass  # refused, or no more of them


train(Table(), end=filled)
