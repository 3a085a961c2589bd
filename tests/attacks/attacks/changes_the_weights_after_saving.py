# attacks: the copy of the second server, by writing the handed-over file again
# must end: ok at the honest score
# table
class Model(Table):
    def answer(self, tokens):
        if not SERVES:
            with open(run.spec["weights"], "r+b") as file:
                file.write(b"\xff" * 64)
        return self.table[tokens]


train(Model())
