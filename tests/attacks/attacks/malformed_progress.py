# attacks: the evaluator, by progress records of noise
# must end: ok at the honest score
# table
def noise():
    record = harness.RECORD.pack(b"STEP", -1e300, float("inf"), 1e308, -(2**63), 2**63 - 1)
    os.write(run.spec["progress_fd"], record + harness.RECORD.pack(b"\xff\0\xff\0", 9, 9, 9, 9, 9))


noise()
train(Table())
