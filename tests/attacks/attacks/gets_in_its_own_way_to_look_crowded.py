# attacks: its luck, by many processes on its one core, so that all of them wait and the run does not count
# must end: ok at the honest score
# slow
# rung: grace_seconds=1.5
# table
def compete():
    for _ in range(6):
        if os.fork() == 0:
            burn(0.1)
            os._exit(0)
    for _ in range(6):
        os.wait()


train(Table(), end=compete)
