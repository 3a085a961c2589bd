"""A child that says of itself what no edit gains in one step waits for a person."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evo.search.suspicion import doubt
from population.archive import Direction, Objective
from population.ladder import VETOED
from population.lineage import Lineage
from population.run_history import RunHistory
from population.types import Measurement, MeasurementRow, Parent, Purpose, RunRequest, Status
from tests.cli.conftest import evo  # noqa: F401 (a fixture)
from tests.cli.driving import Evo

SEED, CHILD = "a" * 64, "b" * 64


def known(
    metric: str, operator: str = "llm_mutate", direction: str = "maximise"
) -> tuple[RunHistory, Lineage]:
    lineage = Lineage()
    lineage.add(SEED, (), "seed")
    lineage.add(CHILD, (Parent(SEED, "parent"),), operator)
    history = RunHistory(
        [Objective(name=metric, direction=Direction(direction))], SEED, (), lineage
    )
    for block, score in enumerate((0.50, 0.51, 0.49, 0.52, 0.48)):
        request = RunRequest(SEED, "proxy", block, 0, Purpose.CALIBRATE)
        history.add(
            MeasurementRow(block + 1, Measurement(request, Status.OK, metrics={metric: score}))
        )
    return history, lineage


def told(
    score: float, metric: str = "accuracy", purpose: Purpose = Purpose.SCREEN, **how: str
) -> str:
    history, lineage = known(metric, **how)
    run = Measurement(RunRequest(CHILD, "proxy", 0, 0, purpose), Status.OK, metrics={metric: score})
    found = doubt(history, lineage, run)
    assert found is None or (found.kind, found.variant_id) == (VETOED, CHILD)
    return "" if found is None else str(found.detail["reason"])


def test_a_jump_of_many_sd_is_doubted_and_what_edits_do_gain_is_not() -> None:
    said = told(0.99)
    assert (
        said.startswith("suspicious: 31 sd better than its parent in one step")
        and "evo approve bbbbbbbb" in said
    )
    assert told(0.75) == ""
    assert told(0.01) == ""  # much worse is nothing to doubt
    assert told(0.01, direction="minimise") and told(0.99, direction="minimise") == ""


@pytest.mark.parametrize(
    "how",
    [
        {"metric": "val_bpb"},
        {"metric": "judged_accuracy"},
        {"purpose": Purpose.REMEASURE},
        {"operator": "inject"},
    ],
)
def test_what_others_measured_and_what_a_person_put_in_is_not_doubted(how: dict[str, str]) -> None:
    assert told(0.99, **how) == ""  # type: ignore[arg-type]


SCRIPT = """
import os
GAIN = 1.0  # knob: log 0.01 100
print("score", GAIN + int(os.environ["SEED"]) % 7 * 1e-4)
"""
CONFIG = """
name: doubted
task: {kind: command, folder: mine, command: python train.py, environment: ["SEED={seed}"]}
metrics: {score: {line: "score {}"}}
objectives: [{name: score, direction: maximise}]
rungs: {proxy: {budget: 60}}
operators: {nudge: 1}
sandbox: none
budget: {variants: 6}
certification: {attempts: 0}
policy: {seed_blocks: 4, seed_repeats: 0, final_blocks: 0, remeasure_share: 0}
"""


def test_a_campaign_keeps_it_from_others_until_it_is_approved(
    tmp_path: Path,
    evo: Evo,  # noqa: F811
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text(SCRIPT)
    (tmp_path / "doubted.yaml").write_text(CONFIG)
    assert evo("run", "doubted.yaml", "--plain").code == 0
    rows = evo("tree", "--json").json()
    best = max(rows, key=lambda one: (one["estimate"] or {"mean": 0})["mean"])
    assert best["estimate"]["mean"] > 1.01
    assert not [one for one in rows if one["parent"] == best["variant_id"]] and not best["standing"]
    assert f"evotrain vetoed {best['variant_id'][:8]}: suspicious" in evo("log").out
    assert evo("approve", best["variant_id"]).code == 0
    assert evo("resume", "--set", "budget.variants=7", "--plain").code == 0
    (now,) = (
        one for one in evo("tree", "--json").json() if one["variant_id"] == best["variant_id"]
    )
    assert now["standing"]


def test_a_kill_between_a_run_and_its_veto_lets_nothing_slip_through(
    tmp_path: Path,
    evo: Evo,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process ends right after the row of a run that is to be doubted, as kill -9 would end it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text(SCRIPT)
    (tmp_path / "doubted.yaml").write_text(CONFIG)
    (tmp_path / "killed.py").write_text(KILLED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    killed = [sys.executable, "killed.py", "run", "doubted.yaml", "--plain"]
    ended = subprocess.run(killed, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -9, ended.stderr
    assert "suspicious" not in evo("log").out
    best = max(
        evo("tree", "--json").json(), key=lambda one: (one["estimate"] or {"mean": 0})["mean"]
    )
    assert best["estimate"]["mean"] > 1.01
    assert evo("resume", "--plain").code == 0
    rows = evo("tree", "--json").json()
    assert f"evotrain vetoed {best['variant_id'][:8]}: suspicious" in evo("log").out
    assert not [one for one in rows if one["parent"] == best["variant_id"]]
    assert evo("approve", best["variant_id"]).code == 0
    assert evo("resume", "--plain").code == 0
    vetoed = [
        line for line in evo("log").out.splitlines() if f"vetoed {best['variant_id'][:8]}" in line
    ]
    assert len(vetoed) == 1  # what a person approved is not doubted by the next start


KILLED = """
import os, signal
from evo.runtime import evaluation_lane
from evo.search.suspicion import doubt

def killing(*known):
    if doubt(*known) is not None:
        os.kill(os.getpid(), signal.SIGKILL)

evaluation_lane.doubt = killing
from evo.cli import main
main()
"""


def test_a_campaign_begins_with_the_best_of_another(tmp_path: Path, evo: Evo) -> None:  # noqa: F811
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text(SCRIPT)
    (tmp_path / "doubted.yaml").write_text(CONFIG)
    few = ("--set", "budget.variants=1", "--set", "policy.seed_blocks=1", "--plain")
    assert evo("run", "doubted.yaml", *few).code == 0
    better = SCRIPT.replace("GAIN = 1.0", "GAIN = 90.0")
    (tmp_path / "better.py").write_text(better)
    assert evo("inject", "better.py", "--idea", "more").code == 0
    assert evo("resume", "--plain").code == 0
    ran = evo("run", "doubted.yaml", "--from", "campaigns/doubted-1", *few)
    assert ran.code == 0, ran.err
    assert evo("export", "seed", "-o", "-", "--dir", "campaigns/doubted-2").out == better
    assert evo("run", "doubted.yaml", "--from", "nowhere").code == 2
