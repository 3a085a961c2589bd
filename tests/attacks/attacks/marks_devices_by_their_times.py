# attacks: the audit, by the times and modes of devices, which are the host's own
# must end: ok at the honest score
# slow
# table
for name in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"):
    before = os.stat(name)
    for change in (
        lambda: os.utime(name, ns=(123_456_789, 123_456_789)),
        lambda: os.utime(name),
        lambda: os.chmod(name, before.st_mode & 0o777),
        lambda: os.chown(name, os.getuid(), os.getgid()),
        lambda: os.setxattr(name, "user.mark", b"1"),
    ):
        try:
            change()
        except OSError:
            pass
    after = os.stat(name)
    same = (before.st_mtime_ns, before.st_atime_ns, before.st_mode, before.st_ctime_ns)
    if same != (after.st_mtime_ns, after.st_atime_ns, after.st_mode, after.st_ctime_ns):
        caught(name)
before = os.fstat(0)
for change in (lambda: os.utime(0, ns=(1, 1)), lambda: os.fchmod(0, 0o600)):
    try:
        change()
    except OSError:
        pass
if os.fstat(0).st_rdev and os.fstat(0).st_mtime_ns != before.st_mtime_ns:
    caught("standard input")
train(Table())
