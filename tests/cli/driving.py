"""Driving the command line: in this process, or as a real one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MAIN = "import sys; sys.argv[0] = 'evo'; from evo.cli import main; main()"
QUICK = f"""
name: quick
train: {ROOT}/tests/standins/quick.py
brief: {ROOT}/configs/brief.md
clock: cpu_seconds
sandbox: {{mode: none}}
rungs:
  proxy: {{depth: 2, context: 64, budget: 0.1, rows: 64, startup_seconds: 0.4}}
  larger: {{depth: 3, context: 64, budget: 0.2, rows: 64, startup_seconds: 0.4}}
policy: {{seed_blocks: 2, seed_repeats: 0, remeasure_share: 0.2, final_blocks: 1}}
certification: {{most_pairs: 4}}
graduation: {{promotion: auto}}
budget: {{variants: 3}}
"""


def commands_of(page: str) -> list[str]:
    """The lines of a page's shell blocks, without what is said of them."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("evo ")]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Evo:
    """`evo ...` in this process, with its folder and its output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object, columns: int = 120) -> Said:
        from evo.cli import main

        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["evo", *map(str, words)])
        self._monkeypatch.setenv("COLUMNS", str(columns))
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        captured = self._capsys.readouterr()
        return Said(code, captured.out, captured.err)


def process(*words: object, cwd: Path) -> Said:
    """`evo ...` as its own process."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=280,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@contextmanager
def started(*words: object, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """`evo ...` running, its output as a pipe; killed at the end if it still lives."""
    running = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, words)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.wait()
        assert running.stdout is not None
        running.stdout.close()
