"""The sealed evaluation: sandboxed training runs, and scores taken by someone else."""
