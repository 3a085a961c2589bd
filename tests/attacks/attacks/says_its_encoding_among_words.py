# attacks: the check of sources, by an encoding=raw_unicode_escape among other words
# must end: rejected
# because: UTF-8
import sys

import harness

run = harness.start()
while run.progress() < 1:
    run.report(5.0, 1000)
# \u000asys.exit("GOT THROUGH: a comment ran")
run.finish(None)
