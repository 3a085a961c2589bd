# attacks: the machine, by a hundred thousand names of one empty file
# must end: crashed
# because: files
# rung: grace_seconds=20
# table
# slow
def fill():
    open("one", "w").close()
    for number in range(100_000):
        os.link("one", f"{number:060d}")
    time.sleep(60)


train(Table(), end=fill)
