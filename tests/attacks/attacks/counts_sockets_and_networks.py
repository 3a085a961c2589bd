# attacks: the audit, by numbers that the kernel gives to sockets and networks
# must end: ok at the honest score
# table
# slow
import socket

SO_COOKIE, SO_NETNS_COOKIE, SO_INCOMING_NAPI_ID, SO_MEMINFO, SO_PEERGROUPS = 57, 71, 56, 55, 59
one, other = socket.socketpair()
for option in (SO_COOKIE, SO_NETNS_COOKIE, SO_INCOMING_NAPI_ID, SO_MEMINFO, SO_PEERGROUPS):
    must_fail(f"option {option}", lambda: one.getsockopt(socket.SOL_SOCKET, option, 64))
for name in ("unix", "netlink", "sockstat", "softnet_stat", "protocols", "dev", "netstat"):
    for path in (f"/proc/net/{name}", f"/proc/self/net/{name}"):
        must_fail(path, lambda p=path: open(p, "rb").read())
train(Table())
