import json
import math
import os
import sys
import time

import harness
import numpy as np
from safetensors.numpy import load_file, save_file

run = harness.start()
SERVES = run.spec["role"] == "serve"


def table():
    """Fixed logits [vocab, vocab], so that the right score can be computed outside."""
    a, b = np.arange(run.vocab)[:, None], np.arange(run.vocab)[None, :]
    text = np.where((b >= 97) & (b < 123), 3.0, np.where(b == 32, 4.0, 0.0))
    return (text + np.sin(a * 0.37 + b * 1.91)).astype(np.float32)


class Table:
    def save(self, path):
        save_file({"table": table()}, path)

    def load(self, path):
        self.table = load_file(path)["table"]

    def answer(self, tokens):
        return self.table[tokens]


def peek(logits, tokens, bonus=50.0, where=True):
    """The logits with the true next token raised, wherever the row shows it."""
    logits = logits.copy()
    rows, places = np.indices(tokens[:, 1:].shape)
    logits[rows, places, tokens[:, 1:]] += np.where(where, bonus, 0.0).astype(np.float32)
    return logits


def caught(*names):
    """Something that must not work worked: end as crashed, with the names of it."""
    sys.exit("GOT THROUGH: " + ", ".join(names))


def must_fail(name, action):
    """Nothing if the action is denied, the end if it is not."""
    try:
        action()
    except (OSError, ValueError):
        return
    caught(name)


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(10_000))


def train(model, step=lambda: None, end=lambda: None):
    while run.progress() < 1:
        step()
        run.report(5.0, 1000)
        sum(range(10_000))
    end()
    run.finish(model)
