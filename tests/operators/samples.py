"""Sources to try operators on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operators.operator import ParentView, ProposalContext, Request

SEED = (Path(__file__).parents[2] / "seed" / "train.py").read_text()

SMALL = '''"""A small sample."""

import harness

# Optimiser
MATRIX_LR = 0.02  # knob: log 1e-3 1e-1
EMBED_LR = 0.3  # knob: log 1e-2 1
WARMUP = 0.1  # knob: float 0.0 0.5
LAYERS = 4  # knob: int 1 8
BATCH = 32  # knob: log 8 256
ACTIVATION = "relu2"  # knob: choice relu2 gelu silu
TIED = True  # knob: choice False True


def first(x):
    """One."""
    return x + 1


class Model:
    def forward(self, x):
        x = first(x)
        return x

    def size(self):
        return LAYERS


# Training
run = harness.start()
model = Model()
while run.progress() < 1:
    run.report(model.forward(1.0), BATCH)
run.finish(model)
'''


def request(
    *sources: str, seed: int = 0, context: ProposalContext | None = None, number: int = 1
) -> Request:
    """A request with one parent, a failed one and its ancestor, or two or three and their ancestor."""
    kinds = {
        1: ("parent",),
        2: ("parent", "ancestor"),
        3: ("first", "second", "ancestor"),
        4: ("first", "second", "third", "ancestor"),
    }
    roles = kinds[len(sources)]
    views = tuple(
        ParentView(f"{at:064x}", role, source)
        for at, (role, source) in enumerate(zip(roles, sources, strict=True))
    )
    return Request(number, views, np.random.default_rng(seed), context or ProposalContext())
