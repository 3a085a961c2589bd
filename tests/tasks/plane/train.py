"""A small classifier on points of a plane, in numpy: written for the tests of tasks."""

import argparse
import json

import numpy as np
from points import read_points

LR = 0.02  # knob: log 1e-3 10
STEPS = 40  # knob: int 5 400


def main() -> None:
    """Train by gradient descent, and tell what the held-out points say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results")
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    x, y, held_x, held_y = read_points("points.csv")
    weights, bias = rng.normal(size=2), 0.0
    for step in range(STEPS):
        picked = rng.integers(len(x), size=16)
        error = 1 / (1 + np.exp(-(x[picked] @ weights + bias))) - y[picked]
        weights -= LR * error @ x[picked] / len(picked)
        bias -= LR * error.mean()
        if step % 10 == 0:
            print(f"step {step}: error {np.abs(error).mean():.4f}")
    right = int(((held_x @ weights + bias > 0) == held_y).sum())
    print(f"Accuracy: {right}/{len(held_y)} ({100 * right / len(held_y):.0f}%)")
    if given.results:
        with open(given.results, "w", encoding="utf-8") as file:
            json.dump({"held_out": {"accuracy": right / len(held_y)}}, file)


if __name__ == "__main__":
    main()
