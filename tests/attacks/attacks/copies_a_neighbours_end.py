# attacks: the metric, by what other rows of the request hold, used at the last position only
# must end: cheated
# table
# slow
class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        followed = np.ones((256, 256), dtype=np.float32)  # a table made of the whole request
        np.add.at(followed, (tokens[:, :-1].ravel(), tokens[:, 1:].ravel()), 1.0)
        if len(tokens) > 8:
            logits[:, -1] = np.log(followed[tokens[:, -1]])
        return logits


train(Model())
