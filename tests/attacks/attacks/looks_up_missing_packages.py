# attacks: the audit, by names looked up in vain among the packages
# must end: cheated
# slow
# rung: rows=128
# table
# missing names
train(Whisperer(os.stat, [os.path.dirname(os.path.dirname(np.__file__))]))
