# attacks: the machine, by children that each take a little less than is watched
# must end: out_of_memory
# rung: memory_mb=400
# table
# slow
def bomb():
    for _ in range(8):
        if os.fork() == 0:
            hog = np.ones(16 << 20)
            time.sleep(60 + hog[0])
    time.sleep(60)


train(Table(), end=bomb)
