# attacks: the disk, by files so deep that no path leads there: counting and removing them may fail
# must end: ok at the honest score | crashed | out_of_memory
# table
# slow
start = os.open(".", os.O_RDONLY)
for _ in range(1500):
    os.mkdir("d" * 60)
    os.chdir("d" * 60)
try:
    for number in range(80):
        with open(f"file-{number}", "wb") as file:
            file.write(bytes(1 << 20))
    time.sleep(0.6)
    caught("80 MB that nobody counts")
except OSError:
    for name in os.listdir("."):
        os.unlink(name)
os.fchdir(start)
train(Table())
