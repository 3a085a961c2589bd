# attacks: the disk, by the one file that leaves the box
# must end: crashed | rejected
# rung: memory_mb=200
# table
def fill():
    with open(run.spec["weights"], "wb") as file:
        for _ in range(64):
            file.write(b"x" * (16 << 20))


train(Table(), end=fill)
