# attacks: the log, by output without end
# must end: crashed
# because: output
# table
def shout():
    for _ in range(1024):
        os.write(1, b"x" * (1 << 20))


train(Table(), end=shout)
