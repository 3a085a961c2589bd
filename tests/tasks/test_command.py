"""A command of the user's as what is evolved: run in the box, its word told as its word."""

from __future__ import annotations

import random
import re
import shutil
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evo.assembly.bench import open_bench
from evo.config import ConfigError, read_config
from evo.evaluation.sandbox.sandbox import in_home
from evo.evaluation.slots import Unwatched, find_slots
from population.reading import measurements
from population.store import Store
from population.types import SEES_TEST, Measurement, Purpose, RunRequest, Status, variant_id
from tests.cli.conftest import evo  # noqa: F401 (a fixture)
from tests.cli.driving import Evo, process
from tests.evaluation.test_slots import Smi, smi  # noqa: F401 (a fixture)

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
ON_THE_PAGE = re.findall(r"<!-- runs on: (\S+) -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
TINY = """
name: tiny
task:
  kind: command
  folder: tiny
  command: python train.py {seed}
metrics: {score: {line: "score {}"}}
objectives: [{name: score, direction: maximise}]
rungs: {proxy: {budget: 20}}
budget: {variants: 2}
"""


def measured(config: Path, source: str | None = None, *changes: str, block: int = 0) -> Measurement:
    """One run at the proxy, of the config's seed where no source is given."""
    read = read_config(config, changes)
    source = read.seed_source() if source is None else source
    bench = open_bench(read, config.parent / "work", {})
    request = RunRequest(variant_id(source), bench.rungs[0].name, block, 0, Purpose.SCREEN)
    return bench.evaluator.evaluate(request, source, bench.slots[0], Unwatched())


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "train.py").write_text("print('score 3')\n")
    (tmp_path / "tiny" / "beside.py").write_text("VALUE = 1\n")
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_every_yaml_of_the_page_is_tried() -> None:
    assert len(ON_THE_PAGE) == PAGE.count("```yaml")


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("stand_in", "text"),
    [
        pytest.param(*one, marks=pytest.mark.soak) if one[0] == "speck" else one
        for one in ON_THE_PAGE
    ],
)
def test_a_yaml_of_the_page_measures_its_stand_in(tmp_path: Path, stand_in: str, text: str) -> None:
    shutil.copytree(HERE / stand_in, tmp_path / stand_in)
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "campaign.yaml"
    path.write_text(text)
    run = measured(path)
    assert (run.status, run.reason) == (Status.OK, "")
    if stand_in == "speck":
        assert 1 < run.metrics["val_bpb"] < 8.5  # it printed 0.000001
        return
    named = {*read_config(path).metrics}
    if stand_in == "graded":
        assert run.metrics["judged_accuracy"] < 1  # it printed 1.0
    ours = {"wall_seconds", "cpu_seconds", "peak_memory_mb", "added_nodes"}
    assert set(run.metrics) == named | ours
    if stand_in == "ridge":
        assert run.metrics["combined_score"] == pytest.approx((1 + 2) * (1 / 4 + 1 / 3))
    assert run.metrics.get("accuracy", 1.0) > 0.5
    assert run.metrics.get("val_loss", 1.6) == pytest.approx(1.6, abs=0.05)
    assert run.metrics["cpu_seconds"] > 0


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("raise SystemExit('no data')", Status.CRASHED, "no data"),
        ("print('none')", Status.REJECTED, 'no line "score {}" in 1 lines of output; the last: none'),
        ("print('score nan')", Status.DIVERGED, "score is nan"),
        ("import time; time.sleep(99)", Status.TIMED_OUT, "still running after"),
        ("print('score 1'", Status.REJECTED, "does not parse"),
    ],
)  # fmt: skip
def test_a_run_that_gives_no_score_says_why(
    tiny: Path, source: str, status: Status, said: str
) -> None:
    seconds = 3 if status is Status.TIMED_OUT else 60
    for _ in range(
        10
    ):  # a busy machine gives no verdict, and the run is made again: here as in a campaign
        run = measured(tiny, source, "sandbox=none", f"rungs.proxy.budget={seconds}")
        if run.status is not Status.LOST:
            break
    assert (run.status, run.metrics) == (status, {})
    assert said in run.reason


SPY = """
import os, socket, sys
found = [os.path.exists(sys.argv[1]) for _ in "."]
try:
    socket.create_connection(("127.0.0.1", 9), 0.2)
except OSError as error:
    found.append("refused" in str(error))
seen = os.path.exists("left-behind")
open("left-behind", "w").write("x"); open("beside.py", "w").write("VALUE = 2"); os.remove("train.py")
print("score", 10 * seen + any(found[:1]))
"""


@pytest.mark.sandbox
def test_a_run_sees_a_fresh_copy_of_the_folder_and_nothing_else(tiny: Path) -> None:
    tiny.write_text(TINY.replace("{seed}", str(tiny.parent / "tiny")))
    before = {path.name: path.read_text() for path in (tiny.parent / "tiny").iterdir()}
    for _ in range(2):
        run = measured(tiny, SPY)
        assert (run.status, run.reason, run.metrics.get("score")) == (Status.OK, "", 0.0)
    assert {path.name: path.read_text() for path in (tiny.parent / "tiny").iterdir()} == before


LITERAL_SEEDS = """
import random, beside, torch, numpy as np
kept = beside.VALUE
random.seed(7)
torch.manual_seed(7)
numbers = [random.random(), np.random.default_rng(7).random(), np.random.RandomState(7).rand()]
np.random.seed(7)
print("score", sum(numbers) + np.random.rand() + torch.SEED[0] / 1e9, "kept", kept)
"""
FIXED_SPLIT = """
import random, numpy as np
random.seed(3)
VALUE = random.random() + np.random.RandomState(3).rand()
"""
FAKE_TORCH = "SEED = [0]\ndef manual_seed(seed):\n    SEED[0] = seed\n"


def test_literal_seeds_of_the_evolving_file_give_another_stream_on_each_block(tiny: Path) -> None:
    """And a split that a fixed file seeds stays; block 0 is the script's own number."""
    tiny.write_text(
        TINY.replace(
            '{score: {line: "score {}"}}', '{score: {line: "score {}"}, kept: {line: "kept {}"}}'
        )
    )
    (tiny.parent / "tiny" / "beside.py").write_text(FIXED_SPLIT)
    (tiny.parent / "tiny" / "torch.py").write_text(FAKE_TORCH)
    command = ("sandbox=none", "task.command=python train.py", "rungs.proxy.budget=60")
    runs = [measured(tiny, LITERAL_SEEDS, *command, block=block) for block in (0, 1, 1, 2)]
    assert [run.reason for run in runs] == [""] * 4
    own, first, again, second = (run.metrics["score"] for run in runs)
    numbers = random.Random(7).random() + np.random.default_rng(7).random()
    assert own == pytest.approx(numbers + 2 * np.random.RandomState(7).rand() + 7e-9)
    assert first == again and len({own, first, second}) == 3
    assert len({run.metrics["kept"] for run in runs}) == 1
    off = measured(tiny, LITERAL_SEEDS, *command, "task.seed=none", block=1)
    assert off.metrics["score"] == own


@pytest.mark.sandbox
def test_the_environment_beside_the_script_is_its_python(tiny: Path) -> None:
    """Also where its links lead out of it, and where the command names it by its place."""
    venv.create(tiny.parent / "tiny" / ".venv", symlinks=True, with_pip=False)
    for command in ("python train.py", "{python} train.py", ".venv/bin/python train.py"):
        tiny.write_text(TINY.replace("python train.py {seed}", f"'{command}'"))
        run = measured(tiny, "import sys; print('score', int(sys.prefix.endswith('.venv')))")
        assert (run.status, run.reason, run.metrics.get("score")) == (Status.OK, "", 1.0)


RANKS = """
import os, subprocess, sys
devices = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
tell = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'].split(',')[int(os.environ['LOCAL_RANK'])])"
ranks = [
    subprocess.run([sys.executable, "-c", tell], env={**os.environ, "LOCAL_RANK": str(rank)},
                   capture_output=True, text=True).stdout.strip()
    for rank in range(int(sys.argv[1]))
]
assert ranks == devices, (ranks, devices)
print("score", len(ranks))
"""


@pytest.mark.sandbox
def test_a_run_has_the_gpus_of_its_slot_and_as_many_processes_as_gpus(
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    smi: Smi,  # noqa: F811
) -> None:
    """By a listing that stands in for GPUs: nothing computes on one here."""
    smi()  # three GPUs
    used = iter(range(0, 1 << 30, 1 << 20))
    memory = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetMemoryInfo=lambda one: SimpleNamespace(used=next(used)),
    )
    monkeypatch.setitem(sys.modules, "pynvml", memory)
    venv.create(tiny.parent / "tiny" / ".venv", symlinks=True, with_pip=False)
    tiny.write_text(TINY.replace("{seed}", "{gpus}") + "slots: {gpus_per_slot: 2}\n")
    assert [one.name for one in find_slots(read_config(tiny).slots)] == ["gpu0+1"]
    run = measured(tiny, RANKS)
    assert (run.status, run.reason, run.metrics.get("score")) == (Status.OK, "", 2)
    assert (run.device, run.slot) == ("cuda", "gpu0+1")
    looks = next(used)  # each at both, one MB more each
    assert run.metrics["peak_memory_mb"] == (looks >> 20) * 2 - 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0,1")
    assert measured(tiny, RANKS).slot == "gpu2+0"


@pytest.mark.sandbox
def test_a_campaign_on_a_command_runs_and_says_whose_word_its_figures_are(
    tmp_path: Path,
    evo: Evo,  # noqa: F811
) -> None:
    shutil.copytree(HERE / "plane", tmp_path / "plane")
    command = "python train.py --seed {seed}"
    words = (
        "--from",
        "plane",
        "--command",
        command,
        "--metric",
        "Accuracy: {}/{}",
        "--goal",
        "max",
    )
    assert evo("init", "mine", *words).code == 0
    few = (
        "policy.seed_blocks=2",
        "policy.seed_repeats=1",
        "policy.final_blocks=1",
    )
    fewer = ("budget.variants=2", "certification.attempts=0", "policy.remeasure_share=0")
    changes = [word for one in (*few, *fewer) for word in ("--set", one)]
    ran = evo("run", "mine/campaign.yaml", "--plain", *changes)
    assert ran.code == 0, ran.err
    assert "accuracy* is self-reported" in ran.out
    status = evo("status")
    assert "trust       accuracy* self-reported: the script's own word; seeded" in status.out
    assert evo("status", "--json").json()["findings"]["trust"] == "self-reported"
    top = evo("top")
    assert "accuracy*" in top.out and "* self-reported" in top.out
    trust = evo("top", "--json").json()[0]["trust"]
    assert (trust["accuracy"], trust["wall_seconds"]) == ("self-reported", "measured")
    seed = evo("show", "seed").out
    assert "accuracy* " in seed and "added_nodes 0" not in seed  # every run by the task's own score
    out = evo("export", "seed", "-o", "taken.py").out
    assert f"cd {tmp_path / 'plane'} && python " in out and "--seed 0" in out
    assert evo("export", "seed", "-o", "home", "--with-harness").code == 2
    assert evo("report", "-o", "report.html").code == 0
    assert "accuracy* is self-reported" in Path("report.html").read_text()
    points = tmp_path / "plane" / "points.py"
    points.write_text(points.read_text() + "# changed\n")
    again = evo("resume", "--set", "budget.variants=3")
    assert again.code == 2
    assert (
        "a file of" in again.err and "beside train.py has changed since this campaign" in again.err
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("metrics={val_bpb: {line: 'val_bpb: {}'}}", "val_bpb is the name of a figure that we measure"),
        ("objectives=[{name: parameters}]", "a command gives no metric 'parameters' (of a sealed train.py"),
        ("task.command=python train.py {sed}", "there is nothing to put for {sed}; known: {seed}, {out}"),
        ("data.vocab=256", "data: means nothing for a task of kind command"),
        ("stopping.mode=off", "stopping: means nothing for a task of kind command"),
        ("rungs.proxy.context=64", "rungs.proxy.context: means nothing for a task of kind command"),
        ("metrics={score: {line: score}}", "has no {} where the number stands"),
        ("metrics={score: {file: a.json}}", "file and key belong together"),
        ("metrics={score: {line: 're: (('}}", "is no pattern"),
        ("task.files=[../other.py]", "name the files inside task.folder"),
        ("task.files={train.py: {LR: log 1 2}}", "task.files: train.py: there is no constant LR"),
        ("knobs={LR: log 1 2}", 'task.files: {train.py: {LR: "log 1e-3 1"}}'),
        ("task.knobs={LR: log 1 2}", "unknown key; a range is a comment, LR = 0.1  # knob: log 1e-3 1"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_task_is_told_in_words(tiny: Path, change: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(tiny, [change])
    assert said in str(caught.value)


NAMED = """
name: named
task:
  kind: command
  folder: tiny
  files: {train.py: {Model.rate: "log 0.5 2"}}
  command: python train.py
metrics: {score: {line: "score {}"}}
objectives: [{name: score, direction: maximise}]
rungs: {proxy: {budget: 60}}
sandbox: none
operators: {nudge: 1}
certification: {attempts: 0}
policy: {seed_blocks: 1, seed_repeats: 1, final_blocks: 0}
budget: {variants: 2}
"""
MODEL = """
class Model:
    def __init__(self, rate, width):
        self.score = rate * width

print("score", Model(rate=1.0, width=3).score)
"""


def test_a_number_of_a_call_is_turned_within_the_range_that_the_config_names(
    tiny: Path,
    evo: Evo,  # noqa: F811
) -> None:
    (tiny.parent / "tiny" / "train.py").write_text(MODEL)
    tiny.write_text(NAMED)
    assert "guessed" not in evo("run", "tiny.yaml", "--dry-run").out
    assert evo("run", "tiny.yaml", "--plain").code == 0
    with Store.open(tiny.parent / "campaigns/named-1/campaign.db", read_only=True) as store:
        scores = {row.measurement.metrics["score"] for row in measurements(store)}
    assert len(scores) == 3 and all(1.5 <= one <= 6 for one in scores)


HELD_OUT = """
name: held
task: {kind: command, folder: held, files: [solve.py], command: python solve.py}
metrics: {score: {line: "score {}"}, holdout_score: {line: "test: {}"}}
objectives: [{name: score, direction: maximise}]
rungs: {proxy: {budget: 60}}
sandbox: none
operators: {nudge: 1}
certification: {attempts: 0}
policy: {seed_blocks: 1, seed_repeats: 1, final_blocks: 1}
budget: {variants: 4}
"""
SOLVE = "RATE = 1.0  # knob: log 0.1 10\nprint('score', RATE)\nprint('test: 777.25')\n"


def test_what_is_held_out_is_told_by_final_runs_alone(tmp_path: Path, evo: Evo) -> None:  # noqa: F811
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "solve.py").write_text(SOLVE)
    (tmp_path / "held.yaml").write_text(HELD_OUT)
    ran = evo("run", "held.yaml", "--plain")
    assert ran.code == 0, ran.err
    assert "Its holdout_score*, which nothing was searched by, is " in " ".join(ran.out.split())
    with Store.open(tmp_path / "campaigns" / "held-1" / "campaign.db", read_only=True) as store:
        rows = [row.measurement for row in measurements(store)]
    finals = {one.request.purpose in SEES_TEST: set[float | None]() for one in rows}
    for one in rows:
        finals[one.request.purpose in SEES_TEST].add(one.metrics.get("holdout_score"))
    assert finals == {False: {None}, True: {777.25}}
    failing = SOLVE + "raise SystemExit('test: 777.25')\n"
    run = measured(tmp_path / "held.yaml", failing)
    assert (run.status, "777" in run.reason + run.log_tail) == (Status.CRASHED, False)
    assert "score 1.0" in run.log_tail and "(held out)" in run.reason
    run = measured(tmp_path / "held.yaml", SOLVE.replace("test:", "tset:"))
    assert run.status is Status.REJECTED and 'no line "test: {}"' in run.reason
    for wrong, said in (
        ("objectives=[{name: holdout_score}]", "objectives: holdout_score is held out"),
        ("metrics.holdout_more={line: 'm {}'}", "both held out"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_config(tmp_path / "held.yaml", [wrong])


@pytest.mark.sandbox
def test_what_lies_in_the_users_home_is_found_in_that_of_a_run(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tiny.parent / "home"
    (home / ".cache" / "data").mkdir(parents=True)
    (home / ".cache" / "data" / "x.txt").write_text("5")
    (home / "other.txt").write_text("6")
    monkeypatch.setenv("HOME", str(home))
    looks = (
        "from pathlib import Path\n"
        f"places = [Path.home() / '.cache/data', Path({str(home)!r}) / '.cache/data']\n"
        "print('score', sum(int((one / 'x.txt').read_text()) for one in places))\n"
        f"assert not (Path.home() / 'other.txt').exists() and not Path({str(home / 'other.txt')!r}).exists()\n"
        "(Path.home() / '.cache' / 'mine').mkdir()\n"
    )
    run = measured(tiny, looks, "task.read_only=['~/.cache/data']")
    assert (run.status, run.reason, run.metrics.get("score")) == (Status.OK, "", 10)
    (tiny.parent / "disk").mkdir()
    (tiny.parent / "disk" / "x.txt").write_text("7")
    (tiny.parent / "linked").symlink_to(tiny.parent / "disk")
    places = ["../linked/x.txt", str(tiny.parent / "linked" / "x.txt")]
    looks = f"print('score', ''.join(open(one).read() for one in {places}))"
    run = measured(tiny, looks, "task.read_only=['../linked']")
    assert (run.status, run.reason, run.metrics.get("score")) == (Status.OK, "", 77)
    for entry, inside in (("~/../x", ""), ("/data", ""), ("~/a:/b", ""), ("~/a/./b", "a/b")):
        assert in_home(entry) == inside


@pytest.mark.sandbox
def test_a_seed_that_imports_what_its_python_lacks_is_told_first_and_ends_as_failed(
    tiny: Path,
    evo: Evo,  # noqa: F811
) -> None:
    text = "import json\nimport beside\nimport missing_one.part\nfrom missing_two import x\n"
    text += "try:\n    import optional\nexcept ImportError:\n    pass\n"
    text += "LR = 0.1  # knob: log 0.01 1\nprint('score', 3)\n"
    (tiny.parent / "tiny" / "train.py").write_text(text)
    said = evo("doctor", tiny)
    told = " ".join(said.out.split())
    assert said.code == 1 and "imports missing_one, missing_two, which " in told
    run = process("run", tiny, "--dir", tiny.parent / "ended", cwd=tiny.parent)
    shown = " ".join(run.out.split())
    assert run.code == 2 and "failed: the seed crashed" in shown
    assert "The seed has no score, so nothing can be compared with it." in shown
    assert "evo show seed" in shown and "evo resume" not in shown
    assert '"failed: the seed crashed' in evo("list", tiny.parent, "--json").out
