"""Folders of OpenEvolve and Shinka as they are: the score is theirs, and what of their config counts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evo.config import ConfigError, read_config
from evo.tasks.problem_folders import kind_in, read_folder
from evo.tasks.settings import objection_to
from population.types import Status
from tests.tasks.test_command import HERE, measured

DRIVERS = HERE.parents[1] / "seed" / "drivers"


def scored(kind: str, folder: Path, *words: str) -> dict[str, object]:
    """What a driver writes, run on a folder without any box."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    line = [sys.executable, str(DRIVERS / kind / "run.py"), *words]
    done = subprocess.run(
        line, cwd=folder, env={"PYTHONPATH": str(DRIVERS / kind)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads((out / "metrics.json").read_text())
    assert isinstance(told, dict)
    return {**told, "printed": done.stdout.decode()}


@pytest.mark.parametrize(
    ("body", "thresholds", "wanted"),
    [
        ("def evaluate(path): return {'combined_score': 3, 'other': 1}", "null", 3.0),
        ("def evaluate(path): return {'a': 1, 'b': 4, 'ok': True, 'text': 'x'}", "null", 2.5),
        ("def evaluate_stage1(p): return {'combined_score': .4}\ndef evaluate_stage2(p): 1 / 0", "[0.5]", 0.4),
        ("def evaluate_stage1(p): return {'s': 1, 'error': 0}\n"
         "def evaluate_stage2(p): return {'t': 2}\ndef evaluate_stage3(p): return {'u': 9}", "[0.5]", 1.5),
        ("def evaluate_stage1(p): return {'s': 1}\n"
         "def evaluate_stage2(p): return {'t': 2}\ndef evaluate_stage3(p): return {'u': 9}", "[0.5,1]", 4.0),
    ],
)  # fmt: skip
def test_the_score_is_by_the_rules_of_such_evaluators(
    tmp_path: Path, body: str, thresholds: str, wanted: float
) -> None:
    (tmp_path / "evaluator.py").write_text(body)
    (tmp_path / "p.py").write_text("")
    assert scored("openevolve", tmp_path, "p.py", "out", thresholds)["combined_score"] == wanted


def test_of_a_config_is_taken_what_fits_and_the_rest_is_named(tmp_path: Path) -> None:
    shutil.copytree(HERE / "hill", tmp_path / "hill")
    found = read_folder("openevolve", tmp_path / "hill")
    assert (found.program, found.seconds, found.thresholds) == ("initial_program.py", 45.0, (0.2,))
    assert found.brief == "Find the lowest point of a bowl."
    assert set(found.unused) == {
        "max_iterations", "llm.primary_model", "llm.temperature", "database.num_islands",
        "evaluator.parallel_evaluations",
    }  # fmt: skip
    assert [kind_in(HERE / one) for one in ("hill", "ridge", "plane")] == [
        "openevolve",
        "shinka",
        None,
    ]
    path = tmp_path / "hill.yaml"
    path.write_text("task: {kind: openevolve, folder: hill}\nbudget: {variants: 1}\n")
    read = read_config(path, ["rungs.proxy.memory_mb=512"])
    assert read.command is not None and read.command.files == ("initial_program.py",)
    seed = read.seed_source()
    assert objection_to(seed.replace("-5, 5", "-4, 4"), seed, read.task) is None
    (tmp_path / "hill" / "evaluator.py").unlink()
    with pytest.raises(ConfigError, match=r"has no evaluator\.py"):
        read_config(path)


def test_a_program_that_is_not_correct_has_no_score_and_says_why(tmp_path: Path) -> None:
    shutil.copytree(HERE / "ridge", tmp_path / "ridge")
    told = scored("shinka", tmp_path / "ridge", "initial.py", "out")
    assert told["combined_score"] == pytest.approx(1.75)
    assert "secret" not in str(told["printed"]) and '"numbers": 2' in str(told["printed"])
    path = tmp_path / "ridge.yaml"
    path.write_text("task: {kind: shinka, folder: ridge}\nbudget: {variants: 1}\n")
    source = (tmp_path / "ridge" / "initial.py").read_text().replace("limit / 4", "limit")
    run = measured(path, source, "sandbox=none")
    assert run.status is Status.REJECTED
    assert "no number combined_score: Validation failed: the sum is beyond the limit" in run.reason
