"""A real train.py without torch: a bigram model by counts, about 0.4 seconds from exec to score.

Its knobs have optima that depend on the data, so that a search has something to find.
"""

import harness
import numpy as np
from safetensors.numpy import load_file, save_file

SMOOTHING = 0.5  # knob: log 1e-3 1e2
MIX = 0.8  # knob: float 0.0 1.0
TEMPERATURE = 1.0  # knob: float 0.5 2.0
ROWS = 64  # knob: int 8 256

run = harness.start()


class Bigram:
    """Mixed counts of pairs and of single tokens."""

    def __init__(self):
        self.pairs = np.zeros((run.vocab, run.vocab), dtype=np.float32)

    def learn(self, rows):
        """Count the pairs in some random chunks: mean nats a token before learning them, and tokens."""
        pieces = run.data()
        piece = pieces[int(rng.integers(len(pieces)))]
        length = min(rows * run.context, len(piece) - 1)
        start = int(rng.integers(len(piece) - length))
        x, y = piece[start : start + length], piece[start + 1 : start + 1 + length]
        loss = -float(np.mean(self.log_odds()[x, y]))
        np.add.at(self.pairs, (x, y), 1.0)
        return loss, length

    def log_odds(self):
        """Log-probabilities [vocab, vocab] of the next token."""
        single = self.pairs.sum(0) + SMOOTHING
        pairs = self.pairs + SMOOTHING * single / single.sum()
        mixed = MIX * pairs / pairs.sum(1, keepdims=True) + (1 - MIX) * single / single.sum()
        return np.log(mixed) / TEMPERATURE

    def save(self, path):
        save_file({"table": self.log_odds().astype(np.float32)}, path)

    def load(self, path):
        self.table = load_file(path)["table"]

    def answer(self, tokens):
        return self.table[tokens]


rng = np.random.default_rng(run.seed)
model = Bigram()
while run.progress() < 1:
    run.report(*model.learn(ROWS))
run.finish(model)
