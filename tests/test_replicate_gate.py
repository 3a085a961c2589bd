"""The gate resampled from rows: what identical code and a planted gain must give."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from evo.search.certification import ALPHA, CertificationSettings

GATE = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "replicate_gate.py"))


def test_identical_code_is_hardly_ever_promoted_and_a_planted_gain_nearly_always():
    rng = np.random.default_rng(4)
    block = rng.normal(0, 0.02, (20, 1))
    same = 2.2 + block + rng.normal(0, 0.01, (20, 3))
    worse = 2.3 + block[:, 0] + rng.normal(0, 0.01, 20)
    settings = CertificationSettings(attempts=2)
    found = GATE["resample"](same, worse, settings, 300, np.random.default_rng(1))
    assert found.at_most < ALPHA
    assert found.power.value > 0.9 and found.promised > 0.9
    assert found.promised_planted > 0.9
    assert found.greedy_keeps > 3 and found.greedy_claims > 1
    assert f"{found.runs} runs on 20 blocks" in GATE["markdown"](found, ALPHA)
