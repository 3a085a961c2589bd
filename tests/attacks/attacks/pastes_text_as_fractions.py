# attacks: the metric, by text as digits of fractions
# must end: rejected
# because: literals
# generated
