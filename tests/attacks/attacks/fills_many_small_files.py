# attacks: the disk, by files without end
# must end: ok at the honest score | out_of_memory | crashed | timed_out
# slow
# rung: memory_mb=600 grace_seconds=2.0
# table
def fill():
    os.makedirs("TARGET_MARK-files")
    for number in range(3000):
        with open(f"TARGET_MARK-files/{number}", "wb") as file:
            file.write(b"x" * 65536)
    caught("3000 files")


must_fail("full", fill)
train(Table())
