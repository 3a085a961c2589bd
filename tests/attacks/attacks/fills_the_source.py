# attacks: the metric, by a source that is mostly something else
# must end: rejected
# because: larger than
# generated
