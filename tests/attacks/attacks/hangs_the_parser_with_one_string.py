# attacks: the campaign, by one string of 20,000 fields, which Python parses in quadratic time
# must end: rejected
# because: f-string
# generated
