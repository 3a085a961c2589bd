# attacks: the metric, by answers written ahead into the reply pipe
# must end: rejected
# table
def ahead():
    for number in range(64):
        os.write(run.spec["reply_fd"], harness.REPLY.pack(b"ANS\0", number, 1, 1, 256))


train(Table(), end=ahead)
