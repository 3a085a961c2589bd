# attacks: the metric, by text in digits that no number can hold, which it reads back from its source
# must end: rejected
# because: literals
# generated
