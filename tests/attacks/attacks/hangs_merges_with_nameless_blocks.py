# attacks: the campaign, by 9,000 branches without a name, which merges compare with one another
# must end: rejected
# because: lines
# generated
