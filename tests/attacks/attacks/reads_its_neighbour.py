# attacks: the metric, by finding its own next token in another row of the request
# must end: cheated
# slow
# table
class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        if len(tokens) < 16:
            return logits
        text = np.bincount(tokens.ravel(), minlength=run.vocab)
        return logits + np.log1p(text)


train(Model())
