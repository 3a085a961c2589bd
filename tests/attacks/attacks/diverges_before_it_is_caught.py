# attacks: the audit, by logits that are no numbers where the second server would be caught
# must end: cheated
# because: ended among the hidden rows
# table
class Model(Table):
    asked = 0

    def answer(self, tokens):
        self.asked += 1
        if SERVES and self.asked > 2 and blank():
            return self.table[tokens] * np.nan
        return peek(self.table[tokens], tokens) if self.asked > 2 else self.table[tokens]


def blank():
    """Whether the training text is, as it is where nothing is trained."""
    return not np.asarray(run.data()[0][:64]).any()


train(Model())
