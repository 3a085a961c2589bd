"""Campaigns with every part real: sandbox, stand-in trainer, store; driven in this process or in another."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from evo.assembly.campaign import build_campaign
from evo.config import read_config
from evo.folder import Folder, config_of, create_campaign, locked
from evo.runtime.components import MAX_WAITING, Ending, LoopSettings
from tests.operators.fake_openai import Answer, RequestRow

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "tests" / "standins" / "quick.py"


def write_config(folder: Path, **changes: Any) -> Path:
    """A campaign file for the stand-in trainer: a tenth of a CPU second a run, nothing certified."""
    rung = {"depth": 1, "context": 64, "budget": 0.1, "rows": 64, "memory_mb": 1024}
    values: dict[str, Any] = {
        "name": "standin",
        "train": str(STANDIN),
        "brief": str(ROOT / "configs" / "brief.md"),
        "clock": "cpu_seconds",
        "rungs": {"proxy": rung | {"startup_seconds": 0.3}},
        "operators": {"nudge": 3, "merge": 1},
        "policy": {"seed_blocks": 2, "seed_repeats": 0, "final_blocks": 0},
        "certification": {"attempts": 0},
        "budget": {"variants": 10},
    }
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(values | changes, sort_keys=False))
    return path


def run_here(config: Path, path: Path, queue: int = MAX_WAITING) -> Ending:
    """Create or continue a campaign in this process and run it to its end."""
    folder = Folder(path)
    if not folder.database.exists():
        create_campaign(read_config(config), path)
    with locked(folder):
        chosen = config_of(folder)
        loop = LoopSettings(exact=chosen.exact, queue=queue)
        return build_campaign(folder, chosen, loop).run()


def start_evo(
    *words: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """The command line in a process of its own, its output in `evo.log`."""
    command = [sys.executable, "-c", "from evo.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    with (cwd / "evo.log").open("ab") as log:
        return subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log)


def lone_edits(delay: float = 1.0) -> Callable[[RequestRow], Answer]:
    """A model that sets the stand-in's SMOOTHING to ever new values, and tells nothing."""
    values = itertools.count(1)

    def answer(asked: RequestRow) -> Answer:
        if "NOTHING" in asked.prompt:  # what a request for a research note offers
            return Answer("NOTHING")
        if "summary of a finished" in asked.prompt:
            return Answer("Nothing to tell.")
        value = 0.3 + next(values) / 1000
        was = re.search(r"^SMOOTHING = \S+", asked.prompt, re.MULTILINE)
        assert was, asked.prompt
        edit = f"<<<<<<< SEARCH\n{was[0]}\n=======\nSMOOTHING = {value}\n>>>>>>> REPLACE"
        return Answer(f"IDEA: smooth by {value}\n{edit}", delay=delay)

    return answer


def leftovers(word: str) -> list[str]:
    """The command lines of the processes that name `word`."""
    lines = (" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"]))
    return [line for line in lines if word in line]
