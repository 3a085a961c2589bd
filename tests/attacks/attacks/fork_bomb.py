# attacks: the machine, by processes without end
# must end: crashed
# rung: grace_seconds=30.0
# table
# slow
def bomb():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)


train(Table(), end=bomb)
