"""Text is UTF-8, whatever the locale says and however little the terminal can show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evo.config import read_config
from evo.folder import create_campaign
from tests.cli.driving import MAIN, ROOT

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def config(quick: Path, tmp_path: Path) -> Path:
    stand_in = (ROOT / "tests" / "standins" / "quick.py").read_text(encoding="utf-8")
    (tmp_path / "train.py").write_text(f"# → ü\nprint('→ ü')\n{stand_in}", encoding="utf-8")
    lines = quick.read_text(encoding="utf-8").replace(f"{ROOT}/tests/standins/quick.py", "train.py")
    quick.write_text(f"# → ü\n{lines}", encoding="utf-8")
    return quick


def evo(*words: str, cwd: Path) -> bytes:
    environment = {name: text for name, text in os.environ.items() if name != "LANG"} | ASCII
    command = [sys.executable, "-c", MAIN, *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_letters_that_an_ascii_terminal_lacks_are_kept_and_shown_as_question_marks(
    config: Path, tmp_path: Path
) -> None:
    create_campaign(read_config(config), tmp_path / "campaigns" / "quick-1")
    evo("idea", "größer →", cwd=tmp_path)
    assert b"# ? ?\n" in evo("show", "seed", "--source", cwd=tmp_path)
    assert "# → ü\n".encode() in evo("export", "seed", "-o", "-", cwd=tmp_path)
    assert "größer →".encode() in evo("report", "-o", "-", cwd=tmp_path)


@pytest.mark.soak
def test_a_campaign_runs_a_train_py_with_letters_of_its_own_under_an_ascii_locale(
    config: Path, tmp_path: Path
) -> None:
    small = ("budget.variants=1", "policy.final_blocks=0", "graduation.promotion=manual")
    sets = [word for one in small for word in ("--set", one)]
    assert b"calibrate seed" in evo("run", config.name, *sets, cwd=tmp_path)
    evo("status", cwd=tmp_path).decode("ascii")
