# attacks: the metric, by a vocabulary in which every guess is easier
# must end: rejected
# table
def serve(answer):
    run._send(b"REDY", 1.0, 0.0)
    ask, reply, shared = (run.spec[key] for key in ("ask_fd", "reply_fd", "shared_fd"))
    while header := harness._read(ask, harness.REQUEST.size):
        _, number, rows, length = harness.REQUEST.unpack(header)
        harness._read(ask, rows * length * 2)
        os.pwrite(shared, b"\0" * (rows * length * 4), 0)
        os.write(reply, harness.REPLY.pack(b"ANS\0", number, rows, length, 1))


run.serve = serve
train(Table())
