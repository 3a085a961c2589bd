# attacks: the box, by namespaces and mounts of its own
# must end: ok at the honest score
# table
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000):  # user, mount, network, pid
    if libc.unshare(flag) == 0:
        caught(f"unshare {flag:x}")
if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 or libc.umount2(b"/code", 2) == 0:
    caught("mount")
if libc.chroot(b"/tmp") == 0:
    caught("chroot")
train(Table())
