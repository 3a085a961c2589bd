# attacks: the metric, by text spelt out in names, which it reads back
# must end: rejected
# because: names
# generated
