# attacks: the campaign, by a sum of 450 terms, which ends what walks it by recursion
# must end: rejected
# because: nested
# generated
