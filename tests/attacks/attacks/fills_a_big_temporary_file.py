# attacks: the disk, by a big temporary file in /tmp
# must end: ok at the honest score | out_of_memory | crashed
# slow
# rung: memory_mb=600
# table
def fill():
    with open("/tmp/TARGET_MARK-full", "wb") as file:
        for _ in range(64):
            file.write(b"x" * (64 << 20))
    caught("4 GB in /tmp")


must_fail("full", fill)
train(Table())
