# attacks: the audit, by what the kernel counts for the whole machine
# must end: ok at the honest score
# slow
# table
import glob


def numbers(path):
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16)
    except OSError:
        return b""


COUNTERS = [
    *(
        "meminfo",
        "stat",
        "vmstat",
        "loadavg",
        "buddyinfo",
        "zoneinfo",
        "slabinfo",
        "diskstats",
        "interrupts",
    ),
    *(
        "softirqs",
        "schedstat",
        "swaps",
        "locks",
        "timer_list",
        "uptime",
        "pagetypeinfo",
        "vmallocinfo",
    ),
    *(
        "key-users",
        "pressure/cpu",
        "pressure/memory",
        "pressure/io",
        "sys/fs/dentry-state",
        "sys/fs/inode-nr",
    ),
    *(
        "sys/fs/inode-state",
        "sys/fs/file-nr",
        "sys/fs/aio-nr",
        "sys/kernel/ns_last_pid",
        "sys/kernel/pty/nr",
    ),
    *("sys/kernel/random/entropy_avail", "sys/fs/inotify/max_user_watches", "sys/vm/stat_refresh"),
]
paths = [f"/proc/{name}" for name in COUNTERS]
paths += glob.glob("/proc/fs/*/*/*") + glob.glob("/sys/block/*/stat") + glob.glob("/sys/fs/*/*/*")
before = {path: numbers(path) for path in paths}
kept = [bytes(os.urandom(1 << 20)) for _ in range(20)]
for number in range(300):
    os.path.exists(os.path.join(os.path.dirname(np.__file__), f".{os.urandom(8).hex()}"))
with open("file", "wb") as file:
    file.write(kept[0])
time.sleep(0.05)
if moved := [path for path in paths if numbers(path) != before[path]]:
    caught(*moved)
train(Table())
