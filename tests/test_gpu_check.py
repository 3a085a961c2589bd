"""`make gpu-check` without a GPU, and the campaigns that are meant for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evo.config import read_config

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu_check.py"
NEED_A_DEVICE = ("two slots on one device", "memory, NVML and torch")


def checked(folder: Path, *only: str) -> dict[str, dict[str, object]]:
    words = [word for name in only for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "-o", str(folder / "found.json"), *words],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "found.json").read_text())
    assert found["dry_run"]
    for one in found["checks"]:
        assert f"| {one['check']} | {one['outcome']} |" in done.stdout
    return {one["check"]: one for one in found["checks"]}


def test_without_a_gpu_what_needs_one_is_skipped_by_name(tmp_path: Path) -> None:
    found = checked(tmp_path, *NEED_A_DEVICE)
    assert set(found) == set(NEED_A_DEVICE)
    for one in found.values():
        assert (one["outcome"], one["why"]) == ("skipped", "needs a GPU")


@pytest.mark.soak
@pytest.mark.sandbox
def test_all_else_passes_small_on_one_core(tmp_path: Path) -> None:
    found = checked(tmp_path)
    outcomes = {name: one["outcome"] for name, one in found.items()}
    assert {name for name, one in outcomes.items() if one == "skipped"} == set(NEED_A_DEVICE)
    assert set(outcomes.values()) == {"passed", "skipped"}


def test_autoresearchs_own_setting_takes_its_train_py_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import prepare\n")
    config = read_config(ROOT / "configs/autoresearch-h100.yaml", [f"task.folder={tmp_path}"])
    assert config.train == tmp_path / "train.py"
    assert config.rungs["proxy"].budget == 300
