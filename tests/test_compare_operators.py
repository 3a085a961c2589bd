"""The comparison of operators: its tables from campaigns whose gains are known."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "compare_operators.py"
COMPARE = runpy.run_path(str(PATH))


def played(arm: str, seed: int, gain: float, tune: float = 0.0) -> Any:
    earned = [
        COMPARE["Earned"](name, 10, 8, 50.0, tune if name == "tune" else 0.0)
        for name in COMPARE["weights_of"](arm)
    ]
    return COMPARE["Played"](arm, seed, gain, 6, 30, 240.0, tuple(earned))


def rows() -> list[Any]:
    """The seeds move all arms alike; without `tune` 0.02 is lost in each, give or take 0.001."""
    full = [played("all", seed, gain, 0.03) for seed, gain in enumerate((0.05, 0.07, 0.03))]
    without = [
        played("without tune", seed, one.gain - 0.02 + (seed - 1) * 0.001)
        for seed, one in enumerate(full)
    ]
    return full + without


def test_an_arm_is_compared_with_the_full_one_seed_by_seed() -> None:
    full, without = COMPARE["arms_of"](rows())
    assert full.gain == pytest.approx(0.05) and full.difference is None
    assert full.interval.high - full.gain == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-3)
    assert without.difference == pytest.approx(-0.02)
    half = 4.3027 * 0.001 / 3**0.5
    assert without.difference_interval.high == pytest.approx(-0.02 + half, rel=1e-3)


def test_an_operator_is_judged_by_the_campaigns_that_had_it() -> None:
    found = {one.operator: one for one in COMPARE["operators_of"](rows())}
    assert (found["tune"].campaigns, found["nudge"].campaigns) == (3, 6)
    assert found["tune"].gain == pytest.approx(0.03) and found["tune"].valid == 24


def test_the_tables_say_it_in_a_line_each() -> None:
    text = COMPARE["markdown"](rows())
    assert "| without tune | 3 | +0.0300 (" in text and "| -0.0200 (-0.0225 to -0.0175) |" in text
    assert "| tune | 3 | 30 | 80% | 150 | +0.0300 (+0.0300 to +0.0300) |" in text
    single = COMPARE["markdown"](rows()[:1])
    assert "| all | 1 | +0.0500 | - | 30 | 240 |" in single, "no interval from one campaign"


def test_arms_are_interleaved_and_each_leaves_out_one() -> None:
    order = COMPARE["order_of"](3)
    arms = set(COMPARE["ARMS"])
    assert all({arm for seed, arm in order if seed == one} == arms for one in range(3))
    assert len({order[at][1] for at in (0, 5, 10)}) == 3, "no arm always begins"
    assert set(COMPARE["weights_of"]("without merge")) == {"nudge", "revert", "tune"}
