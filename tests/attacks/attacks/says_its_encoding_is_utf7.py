# attacks: the check of sources, by an encoding declared in the second line
# -*- coding: utf-7 -*-
# must end: rejected
# because: UTF-8
import sys

import harness

run = harness.start()
while run.progress() < 1:
    run.report(5.0, 1000)
# +AAo-sys.exit('GOT THROUGH: a comment ran')
run.finish(None)
