# attacks: the machine, by a file in memory that is on its way in a message: nobody has it open
# must end: ok at the honest score
# rung: memory_mb=250 grace_seconds=20
# table
import socket


def send():
    file = os.memfd_create("away")
    block = bytes(1 << 20)
    one, other = socket.socketpair()
    for _ in range(400):
        os.write(file, block)
    socket.send_fds(one, [b"x"], [file])
    os.close(file)


must_fail("400 MB in a message", send)
train(Table())
