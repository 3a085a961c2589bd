# attacks: the metric, by compressed text in a literal
# must end: rejected
# because: literal
# generated
