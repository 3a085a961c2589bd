# attacks: the campaign, by 80,000 empty lines in a function, which merges compare
# must end: rejected
# because: lines
# generated
