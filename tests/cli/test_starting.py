"""`evo init DIR --from REPO`: a repository is looked at, and a config is written with what was guessed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evo.config import read_config
from evo.tasks.starting import packages_in
from tests.tasks.test_command import HERE, measured

from .driving import Evo


@pytest.mark.parametrize(
    ("repository", "kind", "said"),
    [
        ("hill", "openevolve", "not used of its config.yaml: max_iterations"),
        ("ridge", "shinka", "initial.py evolves"),
        ("speck", "autoresearch", "sealed: we score it"),
        ("pair", "command", 'guessed: the score is the line "val loss {}" (train.py line'),
        ("plane", "command", 'guessed: the score is the line "Accuracy: {}/{}"'),
    ],
)
def test_a_repository_is_recognised_and_its_config_can_be_used(
    tmp_path: Path, evo: Evo, repository: str, kind: str, said: str
) -> None:
    shutil.copytree(HERE / repository, tmp_path / repository)
    told = evo("init", "mine", "--from", repository)
    assert told.code == 0, told.err
    assert said in " ".join(told.out.split())
    read = read_config(tmp_path / "mine" / "campaign.yaml")
    assert read.task is not None and read.task.kind == kind
    if kind == "command":
        (first,) = read.objectives
        assert read.metrics[first.name].line in ("val loss {}", "Accuracy: {}/{}")
        assert first.direction.value == ("minimise" if repository == "pair" else "maximise")
    if repository == "plane":
        assert read.task.command == "python train.py --seed {seed}"
    if repository == "hill":
        assert (tmp_path / "mine" / "brief.md").read_text() == "Find the lowest point of a bowl."


EVALUATOR = """
def evaluate(model):
    print(f"val_auc:          {1 - model:.6f}")
    print(f"test_auc:         {2 - model:.6f}")
"""
RUNNER = """
import train
print(f"ERROR: val_loss {0.5}")
print(f"val_accuracy : {train.fit():.4f}")
print(f"std_val_accuracy : {0.1:.4f}")
print(f"best so far  : {0.5:.4f}")
"""


def test_a_score_that_a_fixed_file_prints_is_found_there(
    tmp_path: Path, evo: Evo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a module that the script imports, or in a script that imports it and is what is run."""
    for folder, files in {
        "tabular": {"train.py": "from prepare import evaluate\nevaluate(0.25)\n", "prepare.py": EVALUATOR,
                    "requirements.txt": "", "broken.py": "print("},
        "forest": {"train.py": "def fit():\n    return 0.75\n", "run.py": RUNNER, "uv.lock": ""},
    }.items():  # fmt: skip
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "uv").chmod(0o755)
    for path, packages in (("", ""), (f"{tmp_path / 'bin'}:", "uv.lock")):
        monkeypatch.setenv("PATH", f"{path}/usr/bin:/bin")
        assert packages_in(tmp_path / "forest") == packages
    for folder, line, command, said in (
        ("tabular", "val_auc: {}", "python train.py", "(prepare.py line 3), max is better"),
        (
            "forest",
            "val_accuracy : {}",
            "python run.py",
            "run.py is what is run, for it imports train.py",
        ),
    ):
        told = evo("init", f"my-{folder}", "--from", folder)
        assert told.code == 0, told.err
        assert said in " ".join(told.out.split())
        assert ("it also prints: test_auc: {}" in told.out) == (folder == "tabular")
        read = read_config(tmp_path / f"my-{folder}" / "campaign.yaml")
        assert read.task is not None and (read.task.command, read.task.file) == (
            command,
            "train.py",
        )
        assert read.metrics[read.objectives[0].name].line == line
    assert read_config(tmp_path / "my-tabular" / "campaign.yaml").task.python == "requirements.txt"
    run = measured(
        tmp_path / "my-forest" / "campaign.yaml", None, "sandbox=none", "task.python=auto"
    )
    assert run.metrics["val_accuracy"] == 0.75


def test_what_prints_no_score_is_told_what_to_say(tmp_path: Path, evo: Evo) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "train.py").write_text("print('hello')\n")
    told = evo("init", "mine", "--from", "odd")
    assert told.code == 2 and "prints no figure that reads as a score" in told.err
    other = evo("init", "mine", "--from", "odd", "--file", "run.py").err
    assert "there is no run.py" in other and "such as train.py" in " ".join(other.split())
    assert not (tmp_path / "mine").exists()
