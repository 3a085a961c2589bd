"""The comparisons of operators and of populations: tables from campaigns whose gains are known, and arms."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evo.config import read_config
from population.islands import IslandRole
from tests.campaign.real import ROOT, write_config

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


ISLANDS = {
    "rates": {"share": 2, "operators": {"nudge": 3, "merge": 1}},
    "small": {"objectives": [{"name": "weights_mb"}, {"name": "val_bpb"}]},
    "doubts": {"role": "sceptic", "share": 1},
}
POPULATIONS = ROOT / "benchmarks" / "compare_islands.py"


def written(folder: Path, **changes: Any) -> Path:
    objectives = [{"name": "val_bpb"}, {"name": "weights_mb"}]
    return write_config(folder, **{"islands": ISLANDS, "objectives": objectives, **changes})


def test_the_arms_of_populations_have_equal_operators_and_the_first_has_no_islands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(POPULATIONS.parent)
    compare = runpy.run_path(str(POPULATIONS))
    config = read_config(written(tmp_path))
    compare["refuse_what_is_unequal"](tmp_path / "c.yaml", config)
    one, islands, doubted = (compare["keys_of"](config, arm) for arm in compare["ARMS"])
    assert one["islands"] == {} and one["operators"] == {"nudge": 2.25, "merge": 0.75}
    assert set(islands["islands"]) == {"rates", "small"}
    assert doubted["islands"]["doubts"].role is IslandRole.SCEPTIC
    assert islands["operators"] == doubted["operators"] == config.operators


@pytest.mark.parametrize(
    ("islands", "named"),
    [
        ({}, "two explorers and a sceptic"),
        ({name: ISLANDS[name] for name in ("rates", "small")}, "two explorers and a sceptic"),
        (
            {**ISLANDS, "small": {"tune": {"method": "gp"}}},
            "islands.small.tune: one population cannot",
        ),
    ],
)
def test_populations_that_cannot_be_compared_are_refused_in_a_line(
    islands: dict[str, Any], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(POPULATIONS.parent)
    compare = runpy.run_path(str(POPULATIONS))
    with pytest.raises(SystemExit, match=named):
        compare["refuse_what_is_unequal"](
            tmp_path / "c.yaml", read_config(written(tmp_path, islands=islands))
        )


@pytest.mark.soak
@pytest.mark.sandbox
def test_populations_are_compared_for_real_and_go_on_where_they_stopped(tmp_path: Path) -> None:
    words = [
        str(POPULATIONS),
        str(written(tmp_path, slots=1)),
        "--dir",
        str(tmp_path / "c"),
        "--json",
    ]
    words += ["--seeds", "1", "--slot-seconds", "6", "--final-blocks", "1"]

    def compared() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment,
            timeout=600,
        )

    first = compared()
    assert first.returncode == 0, first.stderr[-3000:]
    told = json.loads(first.stdout)
    assert [one["arm"] for one in told["arms"]] == [
        "one population", "islands", "islands and a sceptic",
    ]  # fmt: skip
    assert all(one["evaluations"] >= 1 for one in told["campaigns"])
    assert compared().stdout == first.stdout, "what ended is read again"
    words[words.index("6")] = "7"
    other = compared()
    assert other.returncode == 1 and "was begun with other terms: 6 slot seconds" in other.stderr
