# attacks: the machine, by megabytes in every connection over the loopback
# must end: ok at the honest score
# slow
# rung: memory_mb=250 grace_seconds=20
# table
import socket


def fill():
    listener = socket.create_server(("127.0.0.1", 0))
    listener.listen(100)
    one = socket.create_connection(listener.getsockname())
    other, _ = listener.accept()
    one.setblocking(False)
    one.send(bytes(1 << 20))


must_fail("megabytes in a connection", fill)
train(Table())
