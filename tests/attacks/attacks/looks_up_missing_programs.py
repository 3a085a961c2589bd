# attacks: the audit, by programs that are not there
# must end: cheated
# slow
# rung: rows=128
# table
# missing names
train(Whisperer(lambda path: os.execv(path, ["x"]), ["/usr/lib", "/usr/bin"]))
