# attacks: the person at the terminal, by escapes in the reason of its end
# must end: crashed
# and: no control characters in the log
# table
train(Table(), end=lambda: sys.exit("\x1b[2J\x1b]52;c;ZXZpbA==\x07 evil \u202e" + "x" * 10_000))
