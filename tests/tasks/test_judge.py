"""Checks before the dear run, one rung's own values, and a judge that sees files of a run and nothing else."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from evo.config import ConfigError, read_config
from evo.evaluation.process import Ended
from evo.tasks.command import hand_over
from evo.tasks.figures import read_figures
from evo.tasks.settings import MetricSettings, TaskError
from population.metrics import Trust, label, trust_of
from population.types import Status
from tests.cli.conftest import evo  # noqa: F401 (a fixture)
from tests.cli.driving import Evo
from tests.tasks.test_command import HERE, measured

GRADED = """
name: graded
task:
  kind: command
  folder: graded
  files: [solution.py]
  command: python solution.py train.csv questions.csv {out}/answers.csv
  judge: python judge/grade.py {out}/answers.csv judge/labels.csv
metrics: {judged_accuracy: {line: "accuracy: {}"}}
objectives: [{name: judged_accuracy, direction: maximise}]
rungs: {proxy: {budget: 60}}
budget: {variants: 2}
"""
THIEF = """
import os, sys
found = [name for name in ("judge/labels.csv", "judge/grade.py", "judge") if os.path.exists(name)]
for here, folders, files in os.walk("/"):
    found += [name for name in files if name in ("labels.csv", "grade.py")]
    folders[:] = [one for one in folders if one not in ("proc", "sys", "usr", "dev")]
print("found", found)
open(sys.argv[3], "w").write("0\\n" * 59 + ("1\\n" if found else "0\\n"))
open(os.path.join(os.path.dirname(sys.argv[3]), "grade.py"), "w").write("print('accuracy: 1')")
print("accuracy: 1.0")
"""


@pytest.fixture
def graded(tmp_path: Path) -> Path:
    shutil.copytree(HERE / "graded", tmp_path / "graded")
    path = tmp_path / "graded.yaml"
    path.write_text(GRADED)
    return path


@pytest.mark.sandbox
def test_a_run_finds_no_label_and_what_it_says_of_itself_counts_for_nothing(graded: Path) -> None:
    run = measured(graded, THIEF)
    assert (run.status, run.reason) == (Status.OK, "")
    zeros = (graded.parent / "graded" / "judge" / "labels.csv").read_text().split().count("0")
    assert run.metrics["judged_accuracy"] == pytest.approx(zeros / 60)
    assert "found []" in run.log_tail


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("print('accuracy: 1.0')", "the judge: "),
        ("import sys; open(sys.argv[3], 'w').write('1')", "1 answers to 60 questions"),
        ("import os, sys; os.symlink('/etc/passwd', sys.argv[3])", "answers.csv is a link"),
        ("import os, sys; os.mkfifo(sys.argv[3])", "answers.csv is no regular file"),
    ],
)
def test_answers_that_a_judge_cannot_take_are_no_score(
    graded: Path, source: str, said: str
) -> None:
    run = measured(graded, source, "sandbox=none")
    assert (run.status, run.metrics) == (Status.REJECTED, {})
    assert said in run.reason


def test_a_judge_is_given_plain_files_that_run_nothing_when_they_are_read(tmp_path: Path) -> None:
    left, to = tmp_path / "left", tmp_path / "to"
    left.mkdir()
    (left / "a.csv").write_text("1")
    (left / "model.pt").write_bytes(b"x")
    (left / "b.pkl").write_bytes(pickle.dumps(1))
    np.save(left / "c.npy", np.arange(3))
    (left / "folder.csv").mkdir()
    with pytest.raises(Ended, match=r"folder\.csv is no regular file"):
        hand_over(left, to)
    (left / "folder.csv").rmdir()
    hand_over(left, to)
    assert sorted(path.name for path in to.iterdir()) == ["a.csv", "c.npy"]
    np.save(left / "d.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Ended, match=r"d\.npy"):
        hand_over(left, to)


def test_who_says_a_figure_is_told_by_its_name() -> None:
    assert (trust_of("judged_accuracy"), label("judged_accuracy")) == (
        Trust.JUDGED,
        "judged_accuracy",
    )
    assert (trust_of("accuracy"), label("accuracy")) == (Trust.SELF_REPORTED, "accuracy*")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("task.judge=python solution.py {out}/a.csv", "solution.py lies where runs see it"),
        ("task.judge=python nothing.py", "it names no file of"),
        ("task.files=[judge/grade.py]", "judge/grade.py lies in a folder of the judge"),
        ("task.judge=python judge/grade.py {set}", "task.judge: there is nothing to put for {set}"),
        ("task.judge=''", "judged_accuracy: a figure of that name is the judge's"),
        ("task.read_only=[.]", "shows runs judge, the judge's own"),
    ],
)
def test_a_judge_that_would_be_seen_is_refused(graded: Path, change: str, said: str) -> None:
    with pytest.raises((ConfigError, TaskError)) as caught:
        measured(graded, None, "sandbox=none", change)
    assert said in str(caught.value)


CHECKED = """
name: checked
task:
  kind: command
  folder: pair
  command: [python -c "import train_check", "python -c \\"print('score', {steps})\\""]
metrics: {score: {line: "score {}", plausible: [0, 10]}}
objectives: [{name: score}]
rungs: {proxy: {set: {steps: 3}, budget: 60}, target: {set: {steps: 30}, budget: 60}}
budget: {variants: 2}
"""


def test_a_check_that_fails_ends_it_and_a_rung_has_its_own_values(tmp_path: Path) -> None:
    shutil.copytree(HERE / "pair", tmp_path / "pair")
    path = tmp_path / "checked.yaml"
    path.write_text(CHECKED)
    run = measured(path, None, "sandbox=none")
    assert run.status is Status.REJECTED and run.reason.startswith("check 1: "), run.reason
    assert "No module named 'train_check'" in run.reason
    (tmp_path / "pair" / "train_check.py").write_text("")
    run = measured(path, None, "sandbox=none")
    assert (run.status, run.metrics.get("score")) == (Status.OK, 3.0)
    beyond = measured(path, None, "sandbox=none", "rungs.proxy.set.steps=30")
    assert (beyond.status, beyond.reason) == (
        Status.REJECTED,
        "score is 30, and plausible is 0 to 10",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rungs.target.set={other: 1}", "task.command: there is nothing to put for {steps}"),
        (
            "rungs={proxy: {set: {steps: 1, more: 2}, budget: 9}}",
            "more stands nowhere in the command",
        ),
        ("task.command=[python, train.py]", "write command: python train.py"),
        ("graduation.budget_shares=[0.5]", "graduation.budget_shares: means nothing for a task"),
        ("metrics.score.plausible=[3, 1]", "the smaller one first"),
    ],
)
def test_a_mistake_about_rungs_and_checks_is_told(tmp_path: Path, change: str, said: str) -> None:
    shutil.copytree(HERE / "pair", tmp_path / "pair")
    path = tmp_path / "checked.yaml"
    path.write_text(CHECKED)
    with pytest.raises(ConfigError) as caught:
        read_config(path, [change])
    assert said in str(caught.value)


def test_a_figure_without_a_place_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for text, wanted in (
        ("loss: 9\n---\nval_bpb:   1.25\nloss: 0.5\n", 0.5),
        ("METRIC loss=2\nMETRIC loss=3\n", 3.0),
        ('loss 4\n{"loss": 4.5, "acc": 1}\n', 4.5),
    ):
        assert read_figures({"loss": MetricSettings()}, text, tmp_path, "out") == {"loss": wanted}
    (tmp_path / "out" / "metrics.json").write_text(json.dumps({"combined": {"loss": 7}}))
    one = {"score": MetricSettings(key="combined.loss")}
    assert read_figures(one, "nothing", tmp_path, "out") == {"score": 7.0}
    with pytest.raises(Ended, match="has no number gain"):
        read_figures({"gain": MetricSettings()}, "nothing", tmp_path, "out")


def test_a_figure_is_read_from_a_column_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("step\tval loss\n1\t3.5\n2\t\n3\t2.5\n")
    (tmp_path / "log.csv").write_text('step,"val loss"\n1,"1,000"\n')
    for file, pick, wanted in (
        ("log.tsv", "last", 2.5),
        ("log.tsv", "max", 3.5),
        ("log.csv", "last", 1000),
    ):
        one = MetricSettings.model_validate({"file": file, "key": "val loss", "pick": pick})
        assert read_figures({"loss": one}, "", tmp_path, "out") == {"loss": wanted}
    with pytest.raises(Ended, match="no column loss; its first row: step, val loss"):
        read_figures({"loss": MetricSettings(file="log.tsv", key="loss")}, "", tmp_path, "out")


CLIMB = """
policy: {seed_blocks: 2, seed_repeats: 0, final_blocks: 1, remeasure_share: 0}
certification: {attempts: 0}
sandbox: none
graduation: {promotion: auto, graduates: 1, controls: 0, blocks: 1}
"""


def test_the_best_at_the_first_values_goes_up_to_the_next(
    tmp_path: Path,
    evo: Evo,  # noqa: F811
) -> None:
    shutil.copytree(HERE / "pair", tmp_path / "pair")
    (tmp_path / "two.yaml").write_text(
        "name: two\ntask: {kind: command, folder: pair, files: [model.py], command: 'python train.py "
        "--max_iters={steps}'}\nmetrics: {val_loss: {line: 'val loss {}'}}\nobjectives: [{name: val_loss}]\n"
        "rungs: {proxy: {set: {steps: 5}, budget: 60}, target: {set: {steps: 200}, budget: 60}}\n"
        f"budget: {{variants: 2}}\n{CLIMB}"
    )
    ran = evo("run", "two.yaml", "--plain")
    assert ran.code == 0, ran.err
    (step,) = evo("ladder", "--json").json()["steps"]
    assert (step["rung"], step["state"], step["scale"]) == ("target", "ran", None)
    assert step["here"] is not None
    assert evo("ladder").code == 0 and evo("report", "-o", "r.html").code == 0
    assert evo("calibrate", "two.yaml", "--rungs").code == 2
