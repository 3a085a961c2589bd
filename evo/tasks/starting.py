"""A campaign file for a command, written from what `evo init` was told: to be read and edited."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

GOALS = {"max": "maximise", "min": "minimise"}


def metric_name(line: str) -> str:
    """What to call the figure of a line such as "Val accuracy: {}/{}": val_accuracy."""
    words = re.findall(r"[A-Za-z0-9]+", line.removeprefix("re:").split("{}")[0])
    return "_".join(words).lower() or "score"


def starting_config(folder: Path, of: Path, file: str, command: str, metric: str, goal: str) -> str:
    """The file's text. `folder`: where it will lie; `of`: the user's folder; `goal`: a key of GOALS."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", folder.resolve().name) or "campaign"
    called = metric_name(metric)
    # JSON strings are YAML strings, whatever is in them.
    where, line = json.dumps(os.path.relpath(of, folder)), json.dumps(metric)
    seeded = (
        "the block's seed goes in for {seed}"
        if "{seed}" in command
        else "with {seed} in it the block's seed would go in; without, noise is what repeats show"
    )
    return f"""\
name: {name}
brief: brief.md                  # what every language model is told
task:
  kind: command
  folder: {where}      # each run gets a fresh copy of it
  files: [{json.dumps(file)}]
  command: {json.dumps(command)}
  # {seeded}
  # read_only: [~/data]          # more that a run may read; there is no network
metrics:
  {called}: {{line: {line}}}     # the script's own word: shown with a star
objectives:
  - {{name: {called}, direction: {GOALS[goal]}}}
  # - {{name: wall_seconds}}     # also cpu_seconds, peak_memory_mb, added_nodes: measured by us
rungs:
  proxy: {{budget: 600, memory_mb: 4096}}   # a run that takes more seconds is ended
# Constants with a comment such as `LR = 0.1  # knob: log 1e-3 1e-1` are tuned without a model.
operators: {{nudge: 1, tune: 2, merge: 1, revert: 0.5}}
budget: {{variants: 60}}
"""
