# attacks: the metric, by a literal that holds text known by heart
# must end: rejected
# because: literal
# generated
