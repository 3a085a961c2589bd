"""What a signal ends is tidied up: no folder and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.analysis.built import finished
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
    assert running.returncode == 128 + number
    assert not list(work.glob("evo-evaluate-*"))
    assert not alive(str(work))


def test_our_own_matrices_take_one_thread_where_nobody_says_otherwise(tmp_path: Path) -> None:
    """numpy reads it as it is imported, so it must not be there before."""
    ask = "import os, sys, evo.cli; early = 'numpy' in sys.modules; sys.argv = ['evo', '--help']\n"
    ask += "try: evo.cli.main()\nexcept SystemExit: pass\n"
    ask += "print('threads', os.environ['OPENBLAS_NUM_THREADS'], early)"
    for given, found in ((None, "1"), ("2", "2")):
        env = {key: one for key, one in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
        env |= {} if given is None else {"OPENBLAS_NUM_THREADS": given}
        command = [sys.executable, "-c", ask]
        said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        assert said.splitlines()[-1] == f"threads {found} False"


def test_a_reader_that_leaves_early_is_no_failure(tmp_path: Path) -> None:
    built, _, _ = finished(tmp_path / "campaigns" / "built-1")
    for number in range(400):
        built.store.add_event("remark", f"event {number} of many more than a reader wants to see")
    built.store.close()
    for words in (("log",), ("tree",), ("list", "--json")):
        command = (
            f"import sys; sys.argv = ['evo', *{list(words)!r}]; import evo.cli; evo.cli.main()"
        )
        made = subprocess.Popen(
            [sys.executable, "-c", command],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert made.stdout is not None
        made.stdout.close()
        said = made.communicate(timeout=120)[1]
        assert (made.returncode, said) == (0, b""), words
