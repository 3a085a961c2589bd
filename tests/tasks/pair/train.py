"""Trains the table on a text, with its constants overridden from the command line: for the tests of tasks."""

import sys

import numpy as np
from model import Table

max_iters = 60
batch_size = 32
seed = 1337
# EVOLVE-BLOCK-START
block_size = 8  # letters of a row
# EVOLVE-BLOCK-END
for word in sys.argv[1:]:
    name, _, value = word.removeprefix("--").partition("=")
    globals()[name] = type(globals()[name])(value)

rng = np.random.default_rng(seed)
with open("text.txt", encoding="utf-8") as file:
    text = file.read()
letters = sorted(set(text))
ids = np.array([letters.index(one) for one in text])
train, val = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
model = Table(len(letters))
for step in range(max_iters):
    starts = rng.integers(len(train) - block_size, size=batch_size)
    rows = np.stack([train[at : at + block_size + 1] for at in starts])
    model.step(rows[:, :-1].ravel(), rows[:, 1:].ravel())
    if step % 20 == 0:
        print(f"step {step}: train loss {model.loss(train[:-1], train[1:]):.4f}")
print(f"step {max_iters}: val loss {model.loss(val[:-1], val[1:]):.4f}")
