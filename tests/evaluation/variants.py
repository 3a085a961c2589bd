"""Small train.py sources for tests: an honest table, and what cheats and vandals make of it."""

from __future__ import annotations

TABLE = '''
import os, sys, time, json
import harness
import numpy as np
from safetensors.numpy import load_file, save_file

run = harness.start()


def table():
    """Fixed logits [vocab, vocab], so that a test can compute the right score itself."""
    a, b = np.arange(run.vocab)[:, None], np.arange(run.vocab)[None, :]
    text = np.where((b >= 97) & (b < 123), 3.0, np.where(b == 32, 4.0, 0.0))
    return (text + np.sin(a * 0.37 + b * 1.91)).astype(np.float32)


class Model:
    def save(self, path):
        save_file({"table": table()}, path)

    def load(self, path):
        self.table = load_file(path)["table"]

    def answer(self, tokens):
        return self.table[tokens]

#MODEL

model = Model()
while run.progress() < 1:
    run.report(5.0, 1000)
    sum(range(10000))
    #STEP
#END
run.finish(model)
'''


def variant(model: str = "", step: str = "", end: str = "") -> str:
    """The honest table with other behaviour written in: a class body, loop lines, last lines."""
    source = TABLE.replace("#STEP", step.replace("\n", "\n    "))
    return source.replace("#MODEL", model).replace("#END", end)


HONEST = variant()

LOOKS_AHEAD = variant(
    """
class Model(Model):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        rows, places = np.indices(tokens[:, 1:].shape)
        logits[rows, places, tokens[:, 1:]] += 50.0
        return logits
"""
)

REMEMBERS_PREFIXES = variant(
    """
class Model(Model):
    seen = {}

    def answer(self, tokens):
        logits = self.table[tokens].copy()
        for row in tokens:
            for end in range(1, len(row)):
                self.seen[row[:end].tobytes()] = row[end]
        for number, row in enumerate(tokens):
            for end in range(1, len(row)):
                logits[number, end - 1, self.seen[row[:end].tobytes()]] += 50.0
        return logits
"""
)

LEAKS_ACROSS_ROWS = variant(
    """
class Model(Model):
    def answer(self, tokens):
        logits = self.table[tokens]
        return logits + logits.mean(axis=(0, 1), keepdims=True)
"""
)

LEARNS_WHILE_SERVED = variant(
    """
class Model(Model):
    counts = np.ones(256, dtype=np.float32)

    def answer(self, tokens):
        logits = self.table[tokens] + np.log(self.counts)
        np.add.at(self.counts, tokens.ravel(), 1.0)
        return logits
"""
)

STATE_OUTSIDE_WEIGHTS = variant(
    model="""
class Model(Model):
    bonus = 0.0

    def answer(self, tokens):
        logits = self.table[tokens].copy()
        logits[..., 101] += self.bonus
        return logits
""",
    step="model.bonus = 1.0",
)

ENDLESS = "while True: sum(range(100000))"
