# attacks: the metric, by logits that are no distribution
# must end: ok at the honest score
# table
# slow
class Model(Table):
    def answer(self, tokens):
        return self.table[tokens] + 50.0


train(Model())
