"""The ladder of rungs: who goes up, whether it scales, who must say yes, and how long the best needs."""
