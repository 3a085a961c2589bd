# attacks: the network and local services, by every kind of socket
# must end: ok at the honest score
# table
import socket


def connect(family, kind, address):
    with socket.socket(family, kind) as talk:
        talk.settimeout(1)
        talk.connect(address)
        talk.send(b"hello")


must_fail("tcp", lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", TARGET_PORT)))
must_fail("tcp out", lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80)))
must_fail("udp out", lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)))
must_fail("unix", lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "TARGET_SOCKET"))
must_fail("abstract", lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0TARGET_ABSTRACT"))
must_fail(
    "abstract datagram", lambda: connect(socket.AF_UNIX, socket.SOCK_DGRAM, "\0TARGET_ABSTRACT-d")
)
must_fail("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
must_fail("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close())
train(Table())
