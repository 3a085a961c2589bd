# attacks: the campaign, by 40,000 calls of calls, which may end the process that parses them
# must end: rejected
# because: nested
# generated
