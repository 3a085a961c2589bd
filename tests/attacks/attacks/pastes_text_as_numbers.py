# attacks: the metric, by text as a list of small numbers
# must end: rejected
# because: literals
# generated
