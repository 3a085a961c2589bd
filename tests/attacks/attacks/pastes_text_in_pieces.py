# attacks: the metric, by many literals that hold text known by heart
# must end: rejected
# because: literals
# generated
