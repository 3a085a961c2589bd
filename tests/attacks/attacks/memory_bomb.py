# attacks: the machine, by memory without end
# must end: out_of_memory
# rung: memory_mb=400
# table
def bomb():
    hog = []
    while True:
        hog.append(np.ones(1 << 20))


train(Table(), end=bomb)
