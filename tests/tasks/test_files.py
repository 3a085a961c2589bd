"""A variant of several files: one text with a line above each file, which everything else works on."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.analysis.edits import patch_text
from evo.config import ConfigError, read_config
from evo.evaluation.sandbox.agent_box import AgentSettings
from evo.evaluation.static_check import check_source
from evo.proposals.agents import AgentDesk
from evo.tasks.folder_copy import source_at
from evo.tasks.settings import objection_to
from operators.merge import Merge
from operators.nudge import Nudge
from operators.prompting import mutate_messages
from operators.source.blocks import EditError
from operators.source.edits import apply_reply
from operators.source.knobs import read_knobs, with_knobs
from operators.source.merge import merge_sources
from operators.source.names import undefined_names
from operators.source.outline import (
    MAX_OUTLINE_CHARS,
    MAX_SOURCE_CHARS,
    OUTLINED,
    shown_within,
)
from operators.source.parse import SourceError, parse
from population.file_set import (
    changed_files,
    head_of,
    is_sound,
    join_files,
    path_in,
    place_of,
    split_files,
)
from population.fingerprint import fingerprint
from population.types import Status
from tests.cli.conftest import evo  # noqa: F401 (a fixture)
from tests.cli.driving import Evo
from tests.operators.samples import request
from tests.tasks.test_command import HERE, measured

MODEL = "WIDTH = 4  # knob: int 1 9\n\n\ndef build():\n    return WIDTH\n"
TRAIN = (
    "from model import build\n\nRATE = 0.1  # knob: log 1e-3 1\nprint('score', build() * RATE)\n"
)
YAML = "rate: 1\nwidth: 2\n"
BOTH = join_files({"train.py": TRAIN, "model.py": MODEL})
CONFIG = """
name: two
task:
  kind: command
  folder: two
  files: [train.py, model.py]
  command: python train.py {seed}
metrics: {score: {line: "score {}"}}
objectives: [{name: score, direction: maximise}]
rungs: {proxy: {budget: 60}}
budget: {variants: 2}
"""
TEXTS = st.text(st.sampled_from("ab#= \n\r\tf:.py"), max_size=60)
NAMES = st.from_regex(r"[a-c]{1,2}(/[a-c])?\.(py|yaml)", fullmatch=True)


@given(st.dictionaries(NAMES, TEXTS, max_size=4))
def test_files_come_out_of_the_text_as_they_went_in(files: dict[str, str]) -> None:
    source = join_files(files)
    ended = {
        path: text if not text or text.endswith("\n") else f"{text}\n"
        for path, text in (
            (one, text.replace("\r\n", "\n").replace("\r", "\n")) for one, text in files.items()
        )
    }
    assert split_files(source) == ended
    assert list(split_files(source)) == sorted(files)
    assert is_sound(source) and join_files(split_files(source)) == source


@given(TEXTS)
def test_one_file_is_its_own_text(source: str) -> None:
    assert split_files(source) == {} and is_sound(source)


def test_a_line_of_ours_inside_a_file_and_a_file_named_twice_are_refused() -> None:
    with pytest.raises(ValueError, match=r"line 2 of a\.py"):
        join_files({"a.py": f"x = 1\n{head_of('b.py')}\n"})
    assert not is_sound(f"{head_of('a.py')}\nx = 1\n{head_of('a.py')}\nx = 2\n")
    assert not is_sound(f"{head_of('b.py')}\n{head_of('a.py')}\n")
    assert "one file" in str(check_source(f"{head_of('a.yaml')}\nimport os\n"))


def test_places_knobs_and_fingerprints_are_those_of_the_files() -> None:
    assert place_of(BOTH, BOTH.split("\n").index("from model import build") + 1) == ("train.py", 1)
    broken = join_files({"model.py": MODEL, "train.py": TRAIN + "print(\n"})
    with pytest.raises(SourceError, match=r"train.py line 5"):
        parse(broken)
    assert [knob.name for knob in read_knobs(BOTH)] == ["WIDTH", "RATE"]
    turned = split_files(with_knobs(BOTH, {"RATE": 0.2, "WIDTH": 5}))
    assert turned["train.py"] == TRAIN.replace("0.1", "0.2")
    assert turned["model.py"] == MODEL.replace("= 4", "= 5")
    with_yaml = join_files({"train.py": TRAIN, "a.yaml": YAML})
    assert fingerprint(with_yaml) == fingerprint(with_yaml.replace("knob: log", "knob:  log"))
    assert fingerprint(with_yaml) != fingerprint(with_yaml.replace("width: 2", "width: 3"))
    moved = join_files(
        {"train.py": "\n".join(TRAIN.split("\n")[1:]), "model.py": MODEL + TRAIN.split("\n")[0]}
    )
    assert fingerprint(moved) != fingerprint(BOTH)
    assert undefined_names(join_files({"a.py": "x = 1\n", "b.py": "print(x)\n"})) == {"x"}


def test_an_answer_edits_the_file_that_it_means() -> None:
    same = join_files({"a.py": "x = 1\ny = 2\n", "b.py": "x = 1\nz = 3\n"})
    block = "<<<<<<< SEARCH\n{}=======\n{}>>>>>>> REPLACE\n"
    found = apply_reply(same, block.format("z = 3\n", "z = 4\n"))
    assert split_files(found) == {"a.py": "x = 1\ny = 2\n", "b.py": "x = 1\nz = 4\n"}
    with pytest.raises(EditError, match="found 2 times: add lines, or the line above its file"):
        apply_reply(same, block.format("x = 1\n", "x = 5\n"))
    wanted = {"a.py": "x = 1\ny = 2\n", "b.py": "x = 5\nz = 3\n"}
    named = f"{head_of('b.py')}\n"
    for reply in (
        block.format(f"{named}x = 1\n", f"{named}x = 5\n"),
        block.format(f"{named}x = 1\n", "x = 5\n"),
        f"FILE b.py\n{block.format('x = 1' + chr(10), 'x = 5' + chr(10))}",
        f"IDEA: more\n\n```python\n{named}x = 5\nz = 3\n```\n",
        f"IDEA: more\n\n{named}```python\nx = 5\nz = 3\n```\nThat is all.\n",
    ):
        assert split_files(apply_reply(same, reply)) == wanted, reply
    for reply, said in (
        (
            block.format(f"{head_of('c.py')}\nx = 1\n", "x = 2\n"),
            "c.py is none of the files: a.py, b.py",
        ),
        (f"```python\n{head_of('c.py')}\nx = 1\n```", "c.py is none of the files"),
        ("```python\nx = 2\n```", "above a whole file stands its line"),
        (block.format("", "import os\n"), "its SEARCH text is empty"),
        (
            block.format("y = 2\n# ==== file: b.py ====\n", "y = 2\n"),
            "the lines that name the files",
        ),
    ):
        with pytest.raises(EditError, match=said):
            apply_reply(same, reply)


def test_a_merge_goes_file_by_file() -> None:
    files = {"a.yaml": YAML, "model.py": MODEL, "train.py": TRAIN}
    old = join_files(files)
    first = join_files(
        {
            **files,
            "model.py": MODEL + "\n\ndef more():\n    return 1\n",
            "a.yaml": "rate: 5\nwidth: 2\n",
        }
    )
    second = join_files(
        {
            **files,
            "train.py": TRAIN.replace("0.1", "0.5"),
            "model.py": MODEL.replace("= 4", "= 7"),
            "a.yaml": "rate: 1\nwidth: 2\ndepth: 3\n",
        }
    )
    merged = merge_sources(first, second, old, np.random.default_rng(0))
    assert merged.conflicts == 0
    assert split_files(merged.source) == {
        "a.yaml": "rate: 5\nwidth: 2\ndepth: 3\n",
        "model.py": MODEL.replace("= 4", "= 7") + "\n\ndef more():\n    return 1\n",
        "train.py": TRAIN.replace("0.1", "0.5"),
    }
    assert {one.name for one in merged.taken} == {
        "a.yaml",
        "model.py: more",
        "model.py: WIDTH",
        "train.py",
    }
    with pytest.raises(SourceError, match="different files"):
        merge_sources(first, TRAIN, BOTH, np.random.default_rng(0))


@pytest.fixture
def two(tmp_path: Path) -> Path:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "train.py").write_text(TRAIN)
    (tmp_path / "two" / "model.py").write_text(MODEL)
    path = tmp_path / "two.yaml"
    path.write_text(CONFIG)
    return path


def test_a_run_finds_every_file_of_its_variant(two: Path) -> None:
    child = with_knobs(BOTH, {"RATE": 0.5, "WIDTH": 6})
    for source, score in ((None, 0.4), (child, 3.0)):
        run = measured(two, source if source else read_config(two).seed_source(), "sandbox=none")
        assert (run.status, run.reason, run.metrics.get("score")) == (Status.OK, "", score)


def test_what_is_not_the_campaigns_files_is_refused_with_the_file_and_the_line(two: Path) -> None:
    task = read_config(two).task
    marked = TRAIN.replace("RATE", "# EVOLVE-BLOCK-START\nRATE", 1).replace(
        "print", "# EVOLVE-BLOCK-END\nprint"
    )
    seed = join_files({"train.py": marked, "model.py": MODEL})
    assert objection_to(seed.replace("0.1", "0.2"), seed, task) is None
    for source, said in (
        (MODEL, "it does not consist of train.py, model.py"),
        (join_files({"train.py": marked}), "it does not consist of"),
        (
            seed.replace("print('score', build()", "print('score', 9 * build()"),
            "train.py: line 6 stands outside",
        ),
        (seed.replace("return WIDTH", "return WIDTH)"), "model.py: does not parse"),
        (seed + "#" * 400_001 + "\n", "train.py is larger than 400,000 bytes"),
    ):
        assert said in str(objection_to(source, seed, task)), said


def test_names_with_stars_are_the_files_that_are_there(two: Path) -> None:
    (two.parent / "two" / "sub").mkdir()
    (two.parent / "two" / "sub" / "deep.py").write_text("x = 1\n")
    for given_, found in (
        ("['*.py']", ["model.py", "train.py"]),
        ("[train.py, 'sub/*.py']", ["train.py", "sub/deep.py"]),
        ("['**/*.py']", ["model.py", "sub/deep.py", "train.py"]),
    ):
        read = read_config(two, [f"task.files={given_}"])
        assert read.task is not None and list(read.task.files) == found
        assert list(split_files(read.seed_source())) == sorted(found)
    with pytest.raises(ConfigError, match=r"no file .*none"):
        read_config(two, ["task.files=[train.py, 'none*.py']"])


@pytest.mark.sandbox
def test_a_campaign_over_files_tells_and_takes_home_each(tmp_path: Path, evo: Evo) -> None:  # noqa: F811
    shutil.copytree(HERE / "pair", tmp_path / "pair")
    few = "policy: {seed_blocks: 2, seed_repeats: 0, final_blocks: 1, remeasure_share: 0}"
    (tmp_path / "pair.yaml").write_text(
        "name: pair\ntask: {kind: command, folder: pair, files: ['*.py'], command: python train.py}\n"
        'metrics: {val_loss: {line: "val loss {}"}}\nobjectives: [{name: val_loss}]\n'
        f"rungs: {{proxy: {{budget: 60}}}}\nbudget: {{variants: 2}}\ncertification: {{attempts: 0}}\n{few}\n"
    )
    ran = evo("run", "pair.yaml", "--plain")
    assert ran.code == 0, ran.err
    shutil.copytree(tmp_path / "pair", tmp_path / "other")
    model = tmp_path / "other" / "model.py"
    model.write_text(model.read_text().replace("1.0)", "2.0)"))
    assert evo("inject", "other", "--idea", "count twice").code == 0
    assert evo("resume", "--plain").code == 0
    injected = evo("tree", "--json").json()[-1]["variant_id"]
    told = evo("diff", "seed", injected).out
    assert "--- a/model.py" in told and "+        np.add.at(self.counts, (x, y), 2.0)" in told
    assert "train.py" not in told
    assert evo("export", injected, "-o", "home").code == 0
    assert (tmp_path / "home" / "model.py").read_text() == model.read_text()
    assert (tmp_path / "home" / "train.py").read_text() == (
        tmp_path / "pair" / "train.py"
    ).read_text()
    assert evo("export", injected, "--patch", "-o", "-").out.count("diff --git") == 1
    assert path_in(evo("export", "seed", "-o", "-").out.split("\n")[0]) == "model.py"
    assert [path for path, _, _ in changed_files(BOTH, BOTH.replace("0.1", "0.3"))] == ["train.py"]


def test_the_closing_screen_names_the_file_that_evolves(tmp_path: Path, evo: Evo) -> None:  # noqa: F811
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "solve.py").write_text(
        "RATE = 1.0  # knob: log 0.1 10\nprint('score', RATE)\n"
    )
    (tmp_path / "one.yaml").write_text(
        CONFIG.replace("two", "one")
        .replace("[train.py, model.py]", "[solve.py]")
        .replace("train.py", "solve.py")
        + "sandbox: none\noperators: {nudge: 1}\ncertification: {attempts: 0}\n"
        "policy: {seed_blocks: 1, seed_repeats: 1, final_blocks: 1}\n"
    )
    ran = evo("run", "one.yaml", "--plain", "--set", "budget.variants=4")
    assert ran.code == 0, ran.err
    assert " -o solve.py" in ran.out and "train.py" not in ran.out


PARTS = """
name: parts
task:
  kind: command
  folder: parts
  files: ["+lib/*.py", main.py]
  command: python main.py
metrics: {score: {line: "score {}"}}
objectives: [{name: score, direction: maximise}]
rungs: {proxy: {budget: 60}}
budget: {variants: 2}
"""
MAIN = "print('score', 1)\n"
LEAVES = "mkdir lib; echo 'VALUE = 2' > lib/more.py; echo x > y.py"
WITH_LIB = "import random\nfrom lib.more import VALUE\nprint('score', VALUE)\n"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (tmp_path / "parts" / "lib").mkdir(parents=True)
    (tmp_path / "parts" / "main.py").write_text(MAIN)
    (tmp_path / "parts" / "lib" / "fixed.py").write_text("VALUE = 5\n")
    (tmp_path / "parts" / "away").symlink_to(tmp_path)
    path = tmp_path / "parts.yaml"
    path.write_text(PARTS)
    return path


def test_a_variant_may_add_files_where_the_task_says_and_change_nothing_else(parts: Path) -> None:
    seed = read_config(parts).seed_source()
    assert seed == join_files({"main.py": MAIN})
    assert (
        measured(parts, None, "sandbox=none", "task.command=echo score {gpus}").metrics["score"]
        == 0
    )
    child = join_files(
        {
            "main.py": WITH_LIB,
            "lib/more.py": "import random\nrandom.seed(7)\nVALUE = random.random()\n",
        }
    )
    runs = [measured(parts, child, "sandbox=none", block=block) for block in (0, 1)]
    assert [one.status for one in runs] == [Status.OK] * 2, runs[0].reason
    assert runs[0].metrics["score"] == random.Random(7).random() != runs[1].metrics["score"]
    task = read_config(parts).task
    assert objection_to(child, seed, task) is None
    for path, said in (
        ("lib/deep/more.py", "lib/deep/more.py is none of the files: main.py, nor a new one as lib/*.py"),
        ("lib/../up.py", "none of the files"), ("lib/.hidden.py", "none of the files"),
        ("more.py", "none of the files"),
    ):  # fmt: skip
        assert said in str(objection_to(join_files({"main.py": MAIN, path: ""}), seed, task)), path
    assert "main.py is gone" in str(objection_to(join_files({"lib/more.py": ""}), seed, task))
    run = measured(
        parts, join_files({"main.py": MAIN, "lib/fixed.py": "VALUE = 9\n"}), "sandbox=none"
    )
    assert (run.status, run.reason) == (
        Status.REJECTED,
        "lib/fixed.py is there already, and stays as it is",
    )
    away = "task.files=[main.py, '+away/*.py']"
    run = measured(parts, join_files({"main.py": MAIN, "away/out.py": ""}), "sandbox=none", away)
    assert (run.status, run.reason) == (Status.REJECTED, "away/out.py: away is no folder here")
    assert not (parts.parent / "out.py").exists()
    with pytest.raises(ConfigError, match="which file is there already"):
        read_config(parts, ["task.files=['+lib/*.py']", "train=parts/main.py"])


def test_answers_merges_and_patches_know_of_added_files(parts: Path, tmp_path: Path) -> None:
    seed = read_config(parts).seed_source()
    whole = f"IDEA: more\n\n{head_of('lib/more.py')}\n```python\nVALUE = 2\n```\n"
    block = "FILE lib/more.py\n<<<<<<< SEARCH\n=======\nVALUE = 2\n>>>>>>> REPLACE\n"
    wanted = join_files({"main.py": MAIN, "lib/more.py": "VALUE = 2\n"})
    for reply in (whole, block):
        assert apply_reply(seed, reply, ("lib/*.py",)) == wanted
        with pytest.raises(EditError, match=r"lib/more\.py is none of the files: main\.py$"):
            apply_reply(seed, reply)
    other = join_files({"main.py": MAIN.replace("1", "3"), "lib/other.py": "X = 1\n"})
    rng = np.random.default_rng(0)
    merged = merge_sources(wanted, other, seed, rng)
    assert merged.conflicts == 0
    assert split_files(merged.source) == {**split_files(wanted), **split_files(other)}
    assert merge_sources(merged.source, seed, wanted, rng).source == other  # one edit taken back
    both = merge_sources(wanted, wanted.replace("= 2", "= 3"), seed, rng)
    assert both.conflicts == 1 and set(split_files(both.source)) == {"main.py", "lib/more.py"}
    for number, (before, after) in enumerate(((seed, wanted), (wanted, seed))):
        patch = tmp_path / f"{number}.patch"
        patch.write_text(patch_text(before, after, "more", [], 0.0))
        subprocess.run(["git", "apply", str(patch)], cwd=parts.parent / "parts", check=True)
        assert (parts.parent / "parts" / "lib" / "more.py").exists() == (number == 0)


def test_a_folder_put_in_and_an_agents_folder_bring_their_new_files(
    parts: Path, tmp_path: Path
) -> None:
    task = read_config(parts).task
    assert task is not None
    theirs = tmp_path / "theirs"
    shutil.copytree(parts.parent / "parts", theirs, symlinks=True)
    (theirs / "lib" / "more.py").write_text("VALUE = 2\n")
    (theirs / "lib" / "notes.txt").write_text("none\n")
    assert source_at(theirs, task) == join_files({"main.py": MAIN, "lib/more.py": "VALUE = 2\n"})
    desk = AgentDesk(
        AgentSettings(command=("sh", "-c", LEAVES), sandbox="none"),
        tmp_path / "theirs" / "main.py", tmp_path / "desk", None,
    )  # fmt: skip
    worked = desk.work({"BRIEF.md": "", "main.py": MAIN}, ["main.py", "+lib/*.py", "+BRIEF.*"])
    assert worked.source == join_files({"main.py": MAIN, "lib/more.py": "VALUE = 2\n"})


def test_of_files_too_large_for_a_prompt_each_is_shown_whole_in_turn_and_the_others_in_outline() -> (
    None
):
    filler = f"    x = 1  # {'-' * 989}\n" * (MAX_SOURCE_CHARS // 2_000)
    large = {
        f"{name}.py": f"class {name.upper()}(Base):\n  def go(self, a: int = 1) -> str:\n{filler}"
        for name in "abc"
    }
    source = join_files({**large, "notes.txt": "short\n", "huge.txt": f"{'y' * 999}\n" * 160})
    shown = set[str]()
    for number in range(3):
        prompt = mutate_messages(request(source, number=number))[1].content
        whole, _, outline = prompt.partition(OUTLINED)
        here = {path for path in split_files(source) if head_of(path) in whole}
        shown |= here
        assert 1 <= len(here) <= 2 + ("notes.txt" in here) and "huge.txt" not in here
        for name in "abc":
            told = (
                f"{name}.py: " in outline
                and f"  class {name.upper()}(Base)\n    def go(self, a: int=1) -> str\n" in outline
            )
            assert told == (f"{name}.py" not in here)
        assert "huge.txt: 160 lines, 160,000 characters\n" in outline
        assert len(prompt) < MAX_SOURCE_CHARS + MAX_OUTLINE_CHARS + 10_000
        # an edit of a file that is shown makes a child of all files
        edited = f"{head_of(min(here))}\n" + split_files(source)[min(here)].split("\n")[0]
        reply = f"<<<<<<< SEARCH\n{edited}\n=======\n{edited}  # more\n>>>>>>> REPLACE\n"
        assert set(split_files(apply_reply(source, reply))) == set(split_files(source))
    assert shown == {"a.py", "b.py", "c.py", "notes.txt"}
    many = {f"f{at}.py": "def function(a, b, c): pass\n" * 250 for at in range(19)}
    assert len(shown_within(join_files(many), 20_000)[1]) < MAX_OUTLINE_CHARS + 100


def a_large_file() -> str:
    """200,000 characters: a class of two thirds of a prompt, small functions, and one larger than a prompt."""
    line = f"        self.x = 1  # {'-' * 479}\n"
    wide = "class Wide:\n" + "".join(
        f"    def go{at}(self):\n{line * 20}" for at in range(MAX_SOURCE_CHARS // 15_000)
    )
    small = "".join(f"def small{at}():\n    return {at}\n" for at in range(200))
    deep = f"class Deep:\n    def all(self):\n{line * (MAX_SOURCE_CHARS * 11 // 5_000)}"
    source = "import math\nRATE = 0.1\n" + wide + small + deep
    return source + f"# {'=' * 97}\n" * (-(len(source) - 200_000) // 100)


def test_of_one_file_too_large_for_a_prompt_every_line_is_shown_in_turn() -> None:
    source, seen = a_large_file(), set[int]()
    assert 199_000 < len(source) <= 200_000
    for number in range(4):
        whole, outline, part = shown_within(source, MAX_SOURCE_CHARS, number)
        assert part is not None and 0 < len(whole) <= MAX_SOURCE_CHARS and whole in source
        assert whole == "".join(source.splitlines(True)[part.first - 1 : part.last])
        seen |= set(range(part.first, part.last + 1))
        assert ("class Wide" in outline) == ("class Wide" not in whole)
        assert ("import math" in outline) == ("import math" not in whole)
        prompt = mutate_messages(request(source, number=number))[1].content
        assert f"lines {part.first:,} to {part.last:,} of {part.lines:,} stand above" in prompt
        assert len(prompt) < MAX_SOURCE_CHARS + MAX_OUTLINE_CHARS + 10_000
    assert seen == set(range(1, len(source.splitlines()) + 1))
    first = shown_within(source, MAX_SOURCE_CHARS, 0).whole
    parse(first)  # cut between statements
    both = join_files({"big.py": source, "small.py": "X = 1\n"})
    part = shown_within(both, MAX_SOURCE_CHARS, 2).part
    assert part is not None and (part.path, part.first > 1) == ("big.py", True)
    assert not shown_within("x" * 90_000, MAX_SOURCE_CHARS).whole


def test_a_file_of_which_a_part_is_shown_is_edited_and_never_replaced() -> None:
    source = a_large_file()
    edit = "<<<<<<< SEARCH\n    return 77\n=======\n    return 78\n>>>>>>> REPLACE\n"
    assert apply_reply(source, edit, (), "") == source.replace("return 77\n", "return 78\n")
    piece = f"```python\n{shown_within(source, MAX_SOURCE_CHARS, 0).whole}```\n"
    with pytest.raises(EditError, match="only a part of the file is shown"):
        apply_reply(source, piece, (), "")
    both = join_files({"big.py": source, "small.py": "X = 1\n"})
    with pytest.raises(EditError, match="only a part of the file is shown"):
        apply_reply(both, f"{head_of('big.py')}\n{piece}", (), "big.py")
    small = apply_reply(both, f"{head_of('small.py')}\n```\nX = 2\n```\n", (), "big.py")
    assert split_files(small)["small.py"] == "X = 2\n"


def test_children_of_a_large_file_are_tuned_and_merged() -> None:
    source = a_large_file().replace("RATE = 0.1", "RATE = 0.1  # knob: log 1e-3 1")
    source += f"# {'-' * 97}\n" * 1_900  # as much again
    assert Nudge().propose(request(source)).source != source
    first, second = (source.replace(f"return {at}\n", f"return {at + 1000}\n") for at in (50, 100))
    merged = Merge().propose(request(first, second, source)).source
    assert merged == first.replace("return 100\n", "return 1100\n")
