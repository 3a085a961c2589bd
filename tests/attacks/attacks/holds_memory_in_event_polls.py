# attacks: the machine, by event polls that each watch all files of a process
# must end: out_of_memory
# slow
# rung: memory_mb=250
# table
import select


def fill():
    held = [os.eventfd(0) for _ in range(500)]
    polls = []
    while True:
        try:
            polls.append(select.epoll())
            for one in held:
                polls[-1].register(one, select.EPOLLIN)
        except OSError:
            break
    time.sleep(3)


if not SERVES:
    children = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            fill()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
train(Table())
