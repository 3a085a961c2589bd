"""Figures of a run, as scripts really print and write them; and what two equal numbers prove."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from evo.evaluation.process import Ended
from evo.search.certification import Certification, CertificationSettings, proven_members
from evo.tasks.figures import read_figures
from evo.tasks.folder_copy import take_snapshot
from evo.tasks.marks import marks_objection
from evo.tasks.settings import MetricSettings, TaskError, TaskSettings, objection_to
from population.archive import Objective
from population.run_history import RunHistory
from population.statistics import NoiseKind, noise_kind
from population.types import Measurement, MeasurementRow, Purpose, RunRequest, Status


def figure(text: str, folder: Path = Path("/nowhere"), **settings: Any) -> float:
    one = MetricSettings.model_validate(settings)
    return read_figures({"it": one}, text, folder, "out")["it"]


@pytest.mark.parametrize(
    ("line", "text", "number"),
    [
        ("val_bpb: {}", "---\nval_bpb:          0.997900\npeak_vram_mb: 45060.2", 0.9979),
        ("val loss {}", "step 500: train loss 1.2000, val loss 2.6795\nstep 501: val loss 2.5", 2.5),
        ("val_loss:{}", "step:1/2 val_loss:3.2791 train_time:10ms", 3.2791),
        ("train_time:{}ms", "step:1/2 val_loss:3.2791 train_time:10ms", 10.0),
        ("Accuracy: {}/{}", "Test set: Average loss: 0.02, Accuracy: 9901/10000 (99%)", 0.9901),
        ("Test accuracy: {}", "Test accuracy: 0.9912999868392944", 0.9912999868392944),
        ("rmse: {}", "rmse: $152,340", 152340.0),
        ("accuracy {}", "accuracy 97.5 %", 97.5),
        ("loss {}", "val_loss 9\nloss -1.5e-3", -0.0015),
        ("METRIC speed={}", "METRIC speed=12", 12.0),
        ("epoch  {} done", "epoch 3  done", 3.0),
        (r"re: loss=(\S+?);", "loss=0.5; x", 0.5),
        ("loss {}", "0% loss 3.0\r50% loss 2.0\r100% loss 1.0\n", 1.0),
    ],
)  # fmt: skip
def test_a_number_is_found_as_scripts_print_it(line: str, text: str, number: float) -> None:
    assert figure(text, line=line) == pytest.approx(number)


@pytest.mark.parametrize(
    ("pick", "number"), [("last", 2.0), ("first", 3.0), ("min", 1.0), ("max", 3.0), ("mean", 2.0)]
)
def test_one_of_several_is_picked(pick: str, number: float) -> None:
    assert figure("a 3\na 1\na 2", line="a {}", pick=pick) == number


@pytest.mark.parametrize("pick", ["last", "min", "max", "mean"])
def test_a_number_that_is_not_finite_is_passed_over_by_nobody(pick: str) -> None:
    with pytest.raises(Ended) as caught:
        figure("a 3\na 2\na nan", line="a {}", pick=pick)
    assert caught.value.status is Status.DIVERGED


def test_a_key_of_a_json_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    told = {"eval": {"accuracy": 0.75}, "eval.loss": 2, "epochs": [{"f1": 0.1}, {"f1": 0.3}]}
    (tmp_path / "out" / "all.json").write_text(json.dumps(told))
    file = "{out}/all.json"
    assert figure("", tmp_path, file=file, key="eval.accuracy") == 0.75
    assert figure("", tmp_path, file=file, key="eval.loss") == 2
    assert figure("", tmp_path, file=file, key="epochs.f1", pick="max") == 0.3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is gone"),
        ("{", "is no JSON"),
        ('{"b": 1}', "has no number a"),
        ('{"a": true}', "has no number a"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_file_without_the_number_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(Ended, match=said):
        figure("", tmp_path, file="a.json", key="a")


def test_a_file_is_never_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "a.json").write_text('{"a": 99}')
    run = tmp_path / "run"
    run.mkdir()
    (run / "there").symlink_to(tmp_path / "host")
    (run / "a.json").symlink_to(tmp_path / "host" / "a.json")
    os.mkfifo(run / "pipe.json")
    for file in ("there/a.json", "a.json", "../host/a.json", "pipe.json"):
        with pytest.raises(Ended, match=r"leads out|is a link|no regular file"):
            figure("", run, file=file, key="a")


# -- what kind of noise a task has -----------------------------------------------------------------


def rows_of(variant: str, scores: dict[int, list[float]], first: int = 1) -> list[MeasurementRow]:
    """Runs by block; repeats in order."""
    found = []
    for block, values in scores.items():
        for repeat, score in enumerate(values):
            request = RunRequest(variant, "proxy", block, repeat, Purpose.CALIBRATE)
            run = Measurement(request, Status.OK, metrics={"score": score})
            found.append(MeasurementRow(first + len(found), run))
    return found


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ({0: [1.0, 1.0], 1: [2.0], 2: [1.5]}, NoiseKind.SEEDED),
        ({0: [1.0, 1.2, 0.8], 1: [1.1], 2: [0.9]}, NoiseKind.NOISY),
        ({0: [1.0, 1.01, 0.99], 1: [2.0], 2: [3.0]}, NoiseKind.BOTH),
        ({0: [1.0, 1.0], 1: [1.0], 2: [1.0]}, NoiseKind.DETERMINISTIC),
        ({0: [1.0, 1.0]}, None),
        ({0: [1.0], 1: [1.0]}, None),
    ],
)
def test_the_first_runs_tell_what_kind_of_noise_a_task_has(
    scores: dict[int, list[float]], kind: NoiseKind | None
) -> None:
    assert noise_kind(rows_of("seed", scores), "score") is kind


@pytest.mark.parametrize(("steady", "begins"), [(True, False), (False, True)])
def test_nothing_is_certified_where_two_runs_of_the_seed_always_agree(
    steady: bool, begins: bool
) -> None:
    """Also when a child brings noise of its own, from which a spread could be estimated."""
    history = RunHistory([Objective(name="score")], "seed")
    seed = {0: [5.0, 5.0], 1: [5.0 if steady else 5.2], 2: [5.0 if steady else 4.9]}
    child = {0: [1.0, 1.1], 1: [1.2], 2: [0.9]}
    rows = rows_of("seed", seed)
    for row in [*rows, *rows_of("child", child, len(rows) + 1)]:
        history.add(row)
    certification = Certification(CertificationSettings(), history, "proxy")
    assert (certification.begin(at_end=True) is not None) is begins
    if steady:
        assert not proven_members(history, "proxy", 0.1)


# -- marks -----------------------------------------------------------------------------------------

MARKED = """\
import data
# EVOLVE-BLOCK-START
WIDTH = 8
# EVOLVE-BLOCK-END
print("score", data.score(WIDTH))
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (MARKED.replace("WIDTH = 8", "WIDTH = 9\nDEPTH = 2"), None),
        (MARKED.replace("data.score(WIDTH)", "99"), "line 5 stands outside"),
        (MARKED.replace("WIDTH = 8", "WIDTH = 8\n# EVOLVE-BLOCK-END\nx = 1\n# EVOLVE-BLOCK-START"), "line 5"),
        (MARKED.replace("WIDTH = 8", "# EVOLVE-BLOCK-END EVOLVE-BLOCK-START"), "not those of the seed"),
        (MARKED + "print('score 99')\n", "were added"),
        (MARKED.replace("# EVOLVE-BLOCK-END\n", ""), "not those of the seed"),
        (MARKED.replace('print("score", data.score(WIDTH))\n', ""), "were removed"),
    ],
)  # fmt: skip
def test_only_what_stands_between_marks_may_change(source: str, said: str | None) -> None:
    found = marks_objection(source, MARKED)
    assert found is None if said is None else found is not None and said in found


def test_a_seed_without_marks_may_change_anywhere_and_broken_ones_are_told() -> None:
    assert marks_objection("y = 2", "x = 1") is None
    broken = MARKED.replace("# EVOLVE-BLOCK-END\n", "")
    assert marks_objection(broken, broken) == "EVOLVE-BLOCK-START in line 2 has no EVOLVE-BLOCK-END"


# -- what an autoresearch script takes from prepare ------------------------------------------------

TAKES = "from prepare import TIME_BUDGET, make_dataloader, evaluate_bpb\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (TAKES, None),
        (TAKES + "from prepare import Tokenizer, MAX_SEQ_LEN, get_device\n", None),
        (TAKES + "from prepare import get_token_bytes\n", "it takes get_token_bytes from prepare (line 2)"),
        ("import prepare\n", "import prepare (line 1)"),
        (TAKES.replace(", evaluate_bpb", ""), "it does not take evaluate_bpb from prepare"),
        (TAKES + "x = (\n", "does not parse"),
    ],
)  # fmt: skip
def test_a_script_that_cannot_be_sealed_is_told_why(source: str, said: str | None) -> None:
    task = TaskSettings.model_validate({"kind": "autoresearch"})
    found = objection_to(source, TAKES, task)
    assert found is None if said is None else found is not None and said in found


# -- A script chooses what it prints: it must not be able to hold the campaign up with it.


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("loss {}", "loss" + " " * 4000),
        ("acc: {} of 10", "acc: " + "1" * 4000),
        ("acc: {} of 10", "acc: " + "1," * 2000),
        ("{} of 10", "1," * 2000),
        ("{} of 10", "1.1" * 1300),
        ("val loss {}", "val" + " " * 4000),
        ("x {}/{} y", "x " + "1/1" * 1300),
    ],
)
def test_a_line_made_to_be_searched_for_long_takes_no_time(line: str, printed: str) -> None:
    text = f"{printed}\n" * 100
    began = time.thread_time()
    with pytest.raises(Ended):
        figure(text, line=line)
    assert time.thread_time() - began < 10  # it took a minute and more when matches were given back


@pytest.mark.parametrize("pattern", [r"re: (a+)+", r"re: (?:x\s*)*y(\d+)", r"re: ((?:a|b+)*)c"])
def test_a_pattern_that_repeats_a_repeat_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="repeats what repeats"):
        MetricSettings(line=pattern)


@pytest.mark.parametrize("pattern", [r"re: .*loss: ([\d.]+)", r"re: (\d+(?:,\d++)*+) of"])
def test_a_pattern_without_a_repeat_in_a_repeat_is_taken(pattern: str) -> None:
    assert MetricSettings(line=pattern).line == pattern


def test_lines_that_take_too_long_end_the_search_and_not_the_campaign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("evo.tasks.figures.READ_SECONDS", 0.0)
    with pytest.raises(Ended, match="took more than 0 s") as end:
        figure("loss\n" * 100_000, line="loss {}")
    assert end.value.status is Status.REJECTED


@pytest.mark.parametrize("pick", ["mean", "max", "last"])
def test_numbers_too_large_to_be_summed_are_a_run_that_diverged(pick: str) -> None:
    with pytest.raises(Ended) as end:
        figure("loss 1e308\nloss 1e308", line="loss {}", pick=pick)
    assert end.value.status is Status.DIVERGED


def test_a_file_nested_as_deep_as_json_goes_is_read_or_rejected(tmp_path: Path) -> None:
    def deep(frames: int) -> None:  # the campaign is some calls deep itself
        if frames:
            deep(frames - 1)
            return
        for depth in (100, 800, 900, 990, 5000):
            (tmp_path / "r.json").write_text("[" * depth + '{"a": 1}' + "]" * depth)
            try:
                assert figure("", tmp_path, file="r.json", key="a") == 1.0
            except Ended as end:
                assert end.status is Status.REJECTED

    deep(100)


def test_a_file_behind_a_link_is_refused_for_a_run_would_write_to_where_it_leads(
    tmp_path: Path,
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "train.py").write_text("print('mine')\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "src").symlink_to(tmp_path / "real")
    (tmp_path / "mine" / "train.py").write_text("")
    with pytest.raises(TaskError, match="lies behind one"):
        take_snapshot(tmp_path / "mine", ["src/train.py"], tmp_path / "copy")
    take_snapshot(tmp_path / "mine", ["./train.py"], tmp_path / "copy")
    (tmp_path / "to-mine").symlink_to(tmp_path / "mine")  # the folder itself may be reached by one
    take_snapshot(tmp_path / "to-mine", ["train.py"], tmp_path / "copy")
