# attacks: the metric, by text in the numbers of empty lines of the source, which it reads back
# must end: rejected
# because: lines
# generated
