# attacks: the machine, by terminals whose buffers nobody reads
# must end: ok at the honest score
# slow
# table
held = written = 0
fds = []
for _ in range(200):
    try:
        fd = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        break
    fds.append(fd)
    try:
        while written < 16 << 20:
            written += os.write(fd, bytes(4096))
    except OSError:
        continue
if written > 4 << 20:
    caught(f"{written >> 20} MB in {len(fds)} terminals")
train(Table())
