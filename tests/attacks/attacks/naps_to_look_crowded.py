# attacks: its luck, by a thousand naps so that the machine looks busy and an unlucky run does not count
# must end: ok at the honest score
# slow
# table
def nap():
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        time.sleep(0.0015)


train(Table(), end=nap)
