# attacks: the clock, by a save() that goes on training for a file of 260 KB
# must end: timed_out
# because: cpu_seconds
# rung: grace_seconds=0.2
# table
# slow
class Model(Table):
    def save(self, path):
        burn(0.6)
        super().save(path)


train(Model())
