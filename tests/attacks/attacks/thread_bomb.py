# attacks: the machine, by threads without end
# must end: crashed | timed_out | out_of_memory
# rung: wall_seconds=5.0
# table
import threading


def bomb():
    while True:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


train(Table(), end=bomb)
