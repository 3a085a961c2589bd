# attacks: the machine, by memory in the buffers of sockets, which belongs to no process
# must end: out_of_memory
# rung: memory_mb=250 grace_seconds=20
# table
# slow
import socket

BLOCK = bytes(1 << 16)
held = []


def fill():
    for _ in range(490):
        pair = socket.socketpair()
        held.append(pair)
        for one in pair:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            one.setblocking(False)
            try:
                while True:
                    one.send(BLOCK)
            except BlockingIOError:
                pass
    time.sleep(60)


train(Table(), end=fill)
