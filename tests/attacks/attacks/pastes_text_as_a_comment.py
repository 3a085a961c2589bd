# attacks: the metric, by text in comments of the source, which it reads back
# must end: rejected
# because: comments
# generated
