# attacks: the audit, by the lowest number that is free: of event counters, mounts, terminals, name spaces
# must end: ok at the honest score
# table
# slow
import select

held = [select.epoll() for _ in range(3)]
for folder in ("fdinfo", "ns", "mounts", "mountinfo", "mountstats", "cgroup", "timers"):
    for one in ("self", "thread-self", str(os.getpid()), "1", "2"):
        path = f"/proc/{one}/{folder}"
        look = os.listdir if os.path.isdir(path) else lambda p: open(p, "rb").read()
        must_fail(path, lambda p=path, l=look: l(p))
for name in ("sys/kernel/pty/nr", "sys/fs/epoll/max_user_watches", "sys/kernel/random/boot_id"):
    must_fail(name, lambda n=name: open(f"/proc/{n}", "rb").read())
train(Table())
