# attacks: the metric, by text in blanks at the ends of lines of the source, which it reads back
# must end: rejected
# because: blanks
# generated
