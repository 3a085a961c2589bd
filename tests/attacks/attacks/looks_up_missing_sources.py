# attacks: the audit, by names opened in vain beside its own source
# must end: cheated
# slow
# rung: rows=128
# table
# missing names
train(Whisperer(lambda path: os.open(path, os.O_RDONLY), [os.path.dirname(__file__)]))
