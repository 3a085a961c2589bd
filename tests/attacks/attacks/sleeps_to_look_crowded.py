# attacks: its luck, by sleeping so that the machine looks busy and an unlucky run does not count
# must end: ok at the honest score
# table
# slow
train(Table(), end=lambda: time.sleep(1.5))
