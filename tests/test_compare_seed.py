"""The seed against the yardstick: one tiny round for real."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[1] / "benchmarks" / "compare_seed.py"


@pytest.mark.soak
def test_both_train_on_the_same_block_at_the_same_shape_and_are_scored() -> None:
    scale = ["--blocks", "1", "--budget", "0.3", "--depth", "1", "--context", "32"]
    said = subprocess.run(
        [sys.executable, str(STUDY), *scale], capture_output=True, encoding="utf-8", check=True
    ).stdout
    (row,) = re.findall(r"^ +0 (.+)$", said, re.MULTILINE)
    seed, yardstick, *speeds = map(float, row.split())
    assert 1 < seed < 8 and 1 < yardstick < 8
    assert min(speeds) > 0
    assert "of 1 blocks" in said
