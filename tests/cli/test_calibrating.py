"""`evo calibrate` on the stand-in trainer: real runs, sentences a person acts on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.real import ROOT, write_config

from .driving import Evo

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
        timeout=250,
    )


def test_calibrating_tells_the_noise_and_the_smallest_gain_that_can_be_certified(tmp_path):
    write_config(tmp_path, certification={})
    ended = calibrate(tmp_path, "--blocks", "3", "--repeats", "2")
    assert ended.returncode == 0, ended.stderr
    text = " ".join(ended.stdout.split())
    assert "from block to block" in text and "3 blocks" in text and "3 runs" in text
    assert "smallest gain it can certify" in text or "impossible" in text
    assert "no better than the seed" in text
    assert re.search(r"is \d\.\d+ val_bpb \(\d\.\d+ to \d\.\d+, since so few runs", text) or (
        "impossible" in text
    )
    assert "`evo status --dir k` and `evo report --dir k` tell it again" in text


def test_a_calibration_keeps_its_answer_and_a_campaign_that_uses_it_tells_of_it(
    evo: Evo, tmp_path: Path
) -> None:
    write_config(tmp_path, certification={"attempts": 0})
    said = evo("calibrate", "campaign.yaml", "--blocks", "3", "--repeats", "2")
    assert said.code == 0, said.err
    (folder,) = (str(path.relative_to(tmp_path)) for path in tmp_path.glob("calibrations/*"))
    answer = " ".join(said.out[said.out.index("One run of the same code") :].split())
    assert (
        "certifies nothing (certification.attempts: 0); what follows holds with attempts: 2"
        in answer
    )
    assert " can certify" not in answer and " can be certified" not in answer
    first = answer.split(" (sd).")[0]
    status = " ".join(evo("status", "--dir", folder).out.split())
    assert first in status
    assert "of 22 variants" not in status and "no child to compare" not in status
    assert evo("report", "--dir", folder).code == 0
    page = (tmp_path / "report.html").read_text()
    assert f"<h1>{first}" in page
    planned = " ".join(evo("run", "campaign.yaml", "--dry-run").out.split())
    assert f"calibrated in {folder}: {first}" in planned
    other = evo("run", "campaign.yaml", "--dry-run", "--set", "rungs.proxy.rows=17").out
    assert "calibrated in" not in other


@pytest.mark.soak
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
