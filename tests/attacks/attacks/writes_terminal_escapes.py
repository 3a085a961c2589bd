# attacks: the person at the terminal, by escape sequences and letters that turn text around
# must end: ok at the honest score
# and: no control characters in the log
# table
def paint():
    print("\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b5m\u202egpl\u2066\x00\x08\r ok", flush=True)
    sys.stderr.buffer.write(b"\xff\xfe\x1bc\n")


train(Table(), end=paint)
