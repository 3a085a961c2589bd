# attacks: the audit, by which pages came along with one that it touched, and whether others map them too
# must end: ok at the honest score
# table
# slow
import mmap

fd = os.open(np.__file__, os.O_RDONLY)
pages = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
pages[0]
for name in ("pagemap", "maps", "map_files", "mem", "task/self/pagemap", "statm", "stat"):
    for one in ("self", "thread-self", str(os.getpid())):
        path = f"/proc/{one}/{name}"
        must_fail(path, lambda path=path: os.close(os.open(path, os.O_RDONLY)))
train(Table())
