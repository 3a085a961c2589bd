# attacks: the campaign, by a tower of 5,000 powers, which may end the process that parses it
# must end: rejected
# because: nested
# generated
