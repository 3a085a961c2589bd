# attacks: the metric, by text in the tabs and spaces between tokens of the source, which it reads back
# must end: rejected
# because: blanks
# generated
