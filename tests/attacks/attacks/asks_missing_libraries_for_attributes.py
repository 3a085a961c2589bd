# attacks: the audit, by attributes of libraries that are not there
# must end: cheated
# slow
# rung: rows=128
# table
# missing names
train(
    Whisperer(os.listxattr, ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"])
)
