"""What a signal ends is tidied up: no folder and no process is left."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.evaluation.conftest import alive

from .driving import started

SLOW = """import time
import harness

run = harness.start()
time.sleep(600)
run.progress()
run.finish(None)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_evaluation_that_is_ended_leaves_no_folder_and_no_process(
    number: signal.Signals, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, slow = tmp_path / "tmp", tmp_path / "slow.py"
    work.mkdir()
    slow.write_text(SLOW)
    monkeypatch.setenv("TMPDIR", str(work))
    words = ("evaluate", slow, "--config", quick)
    with started(*words, "--json", cwd=tmp_path) as running:
        end = time.monotonic() + 90
        while not alive(str(work)):
            assert running.poll() is None and time.monotonic() < end, running.communicate()[0]
            time.sleep(0.05)
        running.send_signal(number)
        running.communicate(timeout=120)
    assert running.returncode == 130
    assert not list(work.glob("evo-evaluate-*"))
    assert not alive(str(work))
