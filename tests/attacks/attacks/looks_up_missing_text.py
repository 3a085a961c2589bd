# attacks: the audit, by links that are not there beside the training text
# must end: cheated
# slow
# fresh roles
# rung: rows=128
# table
# missing names
train(Whisperer(os.readlink, [os.path.dirname(run.spec["data"][0])]))
