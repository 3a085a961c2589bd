# attacks: the audit, by the lowest number that is free: of event counters, mounts, terminals, name spaces
# must end: ok at the honest score
# table
import select

held = [select.epoll() for _ in range(3)]
for folder in ("fdinfo", "ns", "mounts", "mountinfo", "mountstats", "cgroup", "timers"):
    for one in ("self", "thread-self", str(os.getpid()), "1", "2"):
        if os.path.lexists(f"/proc/{one}/{folder}"):
            caught(folder)
for name in ("sys/kernel/pty/nr", "sys/fs/epoll/max_user_watches", "sys/kernel/random/boot_id"):
    if os.path.exists(f"/proc/{name}"):
        caught(name)
train(Table())
