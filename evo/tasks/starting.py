"""A campaign file for a command, written from what `evo init` was told: to be read and edited."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from shutil import which

from evo.tasks.interpreters import VENV

GOALS = {"max": "maximise", "min": "minimise"}


def metric_name(line: str) -> str:
    """What to call the figure of a line such as "Val accuracy: {}/{}": val_accuracy."""
    words = re.findall(r"[A-Za-z0-9]+", line.removeprefix("re:").split("{}")[0])
    return "_".join(words).lower() or "score"


HIGHER = re.compile(r"acc|auc|f1|score|r2|reward|bleu|rouge|iou|correct", re.IGNORECASE)


def goal_of(metric: str) -> str:
    """Which way a figure of this name is better, as its name lets one guess: a key of GOALS."""
    return (
        "max"
        if HIGHER.search(metric) and not re.search(r"loss|error", metric, re.IGNORECASE)
        else "min"
    )


def packages_in(folder: Path) -> str:
    """The list of packages of a folder without an environment; "" for none that can be installed."""
    if (folder / VENV).is_dir():
        return ""
    if (folder / "uv.lock").is_file() and which("uv"):
        return "uv.lock"
    return "requirements.txt" if (folder / "requirements.txt").is_file() else ""


def name_of(folder: Path) -> str:
    """What to call a campaign whose file lies in this folder."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", folder.resolve().name) or "campaign"


def config_of_folder(folder: Path, of: Path, kind: str, remarks: Sequence[str]) -> str:
    """A campaign file for a repository that is taken as it is; `remarks` are written above it, a line each."""
    told = "".join(f"# {one}\n" for one in remarks)
    where = json.dumps(os.path.relpath(of, folder))
    sealed = kind == "autoresearch"
    rungs = "rungs: {proxy: {budget: 300}}             # seconds of training a run\n" * sealed
    return f"""\
{told}name: {name_of(folder)}
brief: brief.md                  # what every language model is told
task: {{kind: {kind}, folder: {where}}}
{rungs}# Without a model constants are turned: with a knob comment (docs/operators.md), else by a guess.
# llm: {{endpoints: [{{name: main, model: MODEL}}]}}
# operators: {{llm_mutate: 3, llm_rewrite: 1, merge: 1, revert: 0.5}}
budget: {{variants: 60}}
"""


def starting_config(
    folder: Path,
    of: Path,
    file: str,
    command: str,
    metric: str,
    goal: str,
    remarks: Sequence[str] = (),
) -> str:
    """The file's text. `folder`: where it will lie; `of`: the user's folder; `goal`: a key of GOALS.

    `remarks`: what was guessed, written above it, a line each.
    """
    told = "".join(f"# {one}\n" for one in remarks)
    called = metric_name(metric)
    # JSON strings are YAML strings, whatever is in them.
    where, line = json.dumps(os.path.relpath(of, folder)), json.dumps(metric)
    packages = packages_in(of)
    python = f"  python: {packages}              # installed once, outside the sandbox\n" * bool(
        packages
    )
    seeded = (
        "the block's seed goes in for {seed}"
        if "{seed}" in command
        else "literal seeds are mixed with the block; with {seed} in the command the block's seed goes in"
    )
    return f"""\
{told}name: {name_of(folder)}
brief: brief.md                  # what every language model is told
task:
  kind: command
  folder: {where}      # each run gets a fresh copy of it
  files: [{json.dumps(file)}]
  command: {json.dumps(command)}
  # {seeded}
{python}  # read_only: [~/data]          # more that a run may read; there is no network
metrics:
  {called}: {{line: {line}}}     # the script's own word: shown with a star
objectives:
  - {{name: {called}, direction: {GOALS[goal]}}}
  # - {{name: wall_seconds}}     # also cpu_seconds, peak_memory_mb, added_nodes: measured by us
rungs:
  proxy: {{budget: 600, memory_mb: 4096}}   # a run that takes more seconds is ended
# Without a model constants are turned: with a comment, `LR = 0.1  # knob: log 1e-3 1e-1`, else by a guess.
operators: {{nudge: 1, tune: 2, merge: 1, revert: 0.5}}
budget: {{variants: 60}}
"""
