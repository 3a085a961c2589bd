# attacks: the audit, by sessions that it begins: the kernel numbers them for the whole machine
# must end: ok at the honest score
# slow
# table
def number():
    try:
        with open("/proc/self/autogroup") as file:
            return file.read().split()[0]
    except OSError:
        return ""


def in_a_child(action):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        action()
        os.write(write, number().encode() or b"none")
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(read, 64)
    os.close(read)
    os.close(write)
    return said


seen = {in_a_child(os.setsid) for _ in range(3)}
if len(seen) > 1:
    caught("sessions are counted")
train(Table())
