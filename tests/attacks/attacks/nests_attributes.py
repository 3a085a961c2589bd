# attacks: the campaign, by a chain of 450 attributes, which ends what walks it by recursion
# must end: rejected
# because: nested
# generated
