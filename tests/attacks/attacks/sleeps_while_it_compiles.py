# attacks: the slot, by sleeping where its code is compiled ahead of its clock
# must end: timed_out
# because: compile
# rung: wall_seconds=8
# compiled ahead: 1
# table
if run.spec.get("compiles"):
    time.sleep(600)
train(Table())
