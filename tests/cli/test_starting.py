"""`evo init DIR --from REPO`: a repository is looked at, and a config is written with what was guessed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evo.config import read_config
from tests.tasks.test_command import HERE

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


def test_what_prints_no_score_is_told_what_to_say(tmp_path: Path, evo: Evo) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "train.py").write_text("print('hello')\n")
    told = evo("init", "mine", "--from", "odd")
    assert told.code == 2 and "prints no figure that reads as a score" in told.err
    assert "there is no run.py" in evo("init", "mine", "--from", "odd", "--file", "run.py").err
    assert not (tmp_path / "mine").exists()
