# attacks: the audit, by flags, versions, projects and keys of a file that both servers can read
# must end: ok at the honest score
# table
# slow
import fcntl

CALLS = {
    "flags": 0x40086602,
    "32 bit flags": 0x40046602,
    "a version": 0x40087602,
    "a version's value": 0x80087601,
    "a project": 0x401C5820,
    "a project's value": 0x801C581F,
    "a label": 0x41009432,
    "a policy of encryption": 0x800C6613,
    "a digest": 0x40806685,
    "a freeze": 0xC0045877,
    "trimming": 0xC0185879,
    "read ahead": 0x1262,
}
for path in (np.__file__, os.path.realpath(sys.executable), run.spec["data"][0], __file__):
    fd = os.open(path, os.O_RDONLY)
    for name, number in CALLS.items():
        must_fail(name, lambda n=number: fcntl.ioctl(fd, n, bytes(256)))
    os.close(fd)
train(Table())
