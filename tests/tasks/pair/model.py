"""The model of a small two-file project in the style of nanoGPT: a table of what follows a letter."""

import numpy as np

SMOOTHING = 0.5  # knob: log 1e-3 1e1


class Table:
    """How often each letter follows each."""

    def __init__(self, letters):
        self.counts = np.full((letters, letters), SMOOTHING)

    def step(self, x, y):
        """Count the pairs of a batch."""
        np.add.at(self.counts, (x, y), 1.0)

    def loss(self, x, y):
        """The mean of -ln p of the letters that follow."""
        rows = self.counts[x]
        return float(-np.log(rows[np.arange(len(y)), y] / rows.sum(axis=1)).mean())
