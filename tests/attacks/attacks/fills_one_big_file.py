# attacks: the disk, by one big file in .
# must end: ok at the honest score | out_of_memory | crashed
# slow
# rung: memory_mb=600
# table
def fill():
    with open("./TARGET_MARK-full", "wb") as file:
        for _ in range(64):
            file.write(b"x" * (64 << 20))
    caught("4 GB in .")


must_fail("full", fill)
train(Table())
