# attacks: its luck, by files, names and records that make whoever watches it work on its core
# must end: ok at the honest score
# table
if not SERVES:
    for _ in range(20):
        if os.fork() == 0:
            held = [os.open("/dev/null", os.O_RDONLY) for _ in range(900)]
            time.sleep(0.8)
            os._exit(0)
    for number in range(4000):
        print("x" * 100)
    burn(0.1)


def end():
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


train(Table(), end=end)
