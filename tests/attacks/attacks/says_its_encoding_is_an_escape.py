# coding: unicode_escape
# attacks: the check of sources, by a comment that makes Python read escapes as code
# must end: rejected
# because: UTF-8
import sys

import harness

run = harness.start()
while run.progress() < 1:
    run.report(5.0, 1000)
# \nsys.exit("GOT THROUGH: a comment ran")
run.finish(None)
