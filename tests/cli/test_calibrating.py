"""`evo calibrate` on the stand-in trainer: real runs, sentences a person acts on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.real import ROOT, write_config

pytestmark = pytest.mark.sandbox


def calibrate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from evo.cli import main; main()",
        "calibrate",
        "campaign.yaml",
    ]
    return subprocess.run(
        [*command, "--dir", "k", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_calibrating_tells_the_noise_and_the_smallest_gain_that_can_be_certified(tmp_path):
    write_config(tmp_path, certification={})
    ended = calibrate(tmp_path, "--blocks", "3", "--repeats", "2")
    assert ended.returncode == 0, ended.stderr
    text = " ".join(ended.stdout.split())
    assert "from block to block" in text and "3 blocks" in text and "3 runs" in text
    assert "smallest gain this campaign can certify" in text or "impossible" in text
    assert "no better than the seed" in text


def test_calibrating_the_rungs_compares_three_depths_at_three_budgets(tmp_path):
    write_config(
        tmp_path,
        clock="tokens",
        rungs={"proxy": {"depth": 2, "context": 64, "budget": 20000, "rows": 16}},
    )
    ended = calibrate(tmp_path, "--rungs", "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert len(found["places"]) == 9
    assert {depth for depth, _ in found["proposed"]} == {1, 3}
    # the stand-in's size does not follow depth, so equal tokens a parameter means an equal budget
    assert all(budget == pytest.approx(20000, rel=0.3) for _, budget in found["proposed"])
