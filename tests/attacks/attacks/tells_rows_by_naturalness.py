# attacks: the audit, by looking ahead only in rows that read like text to their end
# must end: cheated
# table
class Model(Table):
    def answer(self, tokens):
        letters = ((tokens >= 97) & (tokens < 123) | (tokens == 32)).cumsum(1)
        natural = (letters[:, -1:] - letters[:, -9:-8]) >= 7
        return peek(self.table[tokens], tokens, where=natural)


train(Model())
