# attacks: the campaign, by 450 branches of one if, which end what walks them by recursion
# must end: rejected
# because: nested
# generated
