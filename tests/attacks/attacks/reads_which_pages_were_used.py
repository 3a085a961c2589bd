# attacks: the audit, by which pages of a library were used: a child shows it, whose own marks begin anew
# must end: ok at the honest score
# table
import mmap

fd = os.open(np.__file__, os.O_RDONLY)
pages = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
pages[0] = pages[0]  # so that a child gets the table of pages, with none of them used
used = sum(pages[at] for at in range(0, len(pages), 4096))
child = os.fork()
if child == 0:
    found = 0
    for name in ("smaps", "smaps_rollup", "numa_maps"):
        try:
            with open(f"/proc/self/{name}", "rb") as file:
                found |= bool(file.read(1))
        except OSError:
            continue
    os._exit(found)
if os.waitpid(child, 0)[1]:
    caught("how pages were used")
try:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("1")
except OSError:
    pass
else:
    caught("marking pages as unused")
train(Table())
