"""Packs numbers below a limit: for the tests of tasks."""


# EVOLVE-BLOCK-START
def pack(limit):
    """Numbers whose sum stays below a limit."""
    return [limit / 4, limit / 3]


# EVOLVE-BLOCK-END


def run_packing(limit):
    """What evaluate.py calls."""
    return pack(limit)
