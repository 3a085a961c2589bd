"""Where a variant comes from: tree, history, diff, and a patch that applies."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from evo.analysis.edits import patch_text
from population.types import Purpose, variant_id
from tests.analysis.built import SEED, Built, finished

from .driving import Evo

HOSTILE = "diff --git a/x b/x\n--- a/x\n+++ b/x\x1b[31m"


@pytest.fixture
def campaign(tmp_path: Path) -> tuple[Built, str, str]:
    return finished(tmp_path / "campaigns" / "built-1")


def test_the_tree_tells_operator_idea_effect_and_who_went_up(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    _, leader, crashed = campaign
    told = evo("tree").out.split("\n")
    lines = {found[0]: line for line in told if (found := re.search("[0-9a-f]{8}", line))}
    of_leader = lines[leader[:8]]
    for words in ("candidate, graduated", "nudge", "LR 0.2 -> 0.3", "0.0700 better (n=1)"):
        assert words in of_leader
    assert "crashed" in lines[crashed[:8]]
    rows = {one["variant_id"]: one for one in evo("tree", "--json").json()}
    assert rows[leader]["effect"]["difference"] == pytest.approx(-0.07)
    assert rows[leader]["standing"] == "candidate, graduated"
    assert rows[crashed]["effect"] is None


def test_an_effect_on_several_blocks_has_its_interval(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    built, leader, _ = campaign
    child = built.child(SEED.replace("0.1", "0.4"), leader)
    built.runs(child, [2.30, 2.31, 2.32], Purpose.FINAL, first=5)
    told = next(line for line in evo("tree").out.split("\n") if child[:8] in line)
    assert re.search(r"0\.1000 better \(0\.0\d+ to 0\.1\d+ better, n=3\)", told)


def test_a_tree_can_be_cut_to_a_line_or_to_the_best(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    built, leader, crashed = campaign
    other = built.child(SEED.replace("0.1", "0.9"), built.seed)
    below = built.child(SEED.replace("0.1", "0.31"), leader)
    built.run(other, 2.6)

    def shown(*words: object) -> set[str]:
        return {one["variant_id"] for one in evo("tree", "--json", *words).json()}

    assert shown() >= {built.seed, leader, crashed, other, below}
    line = shown("--lineage", leader)
    assert {built.seed, leader, below} < line and not {other, crashed} & line
    best = shown("--top", 1)
    assert {built.seed, leader} < best and not {other, crashed, below} & best
    assert shown("--depth", 1) == {built.seed, other, *(line & shown("--depth", 1))}
    assert shown("--of", leader) == {leader, below}


def test_a_history_goes_step_by_step_from_the_seed(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    built, leader, _ = campaign
    detail = {"verdict": "certified", "pairs": 6, "log_e": 4.2, "champion": built.seed}
    built.store.add_decision("verdict", leader, detail)
    built.store.add_decision("ended", built.seed, {"reason": HOSTILE})
    told = " ".join(evo("history", "best").out.split())
    proven = (
        f"certified: better than the champion {built.seed[:8]} "
        "(6 pairs on fresh blocks, e-value 66.7)"
    )
    at = [told.index(words) for words in ("the seed", "LR 0.1 -> 0.2", "LR 0.2 -> 0.3")]
    assert at == sorted(at)
    for words in (proven, "candidate, graduated", "fresh blocks"):
        assert words in told
    assert "flattering" in told and "\x1b" not in told
    found = evo("history", leader[:8], "--json").json()
    assert [one["operator"] for one in found["chapters"]] == ["seed", "nudge", "nudge"]
    assert found["fresh"]["blocks"] == [5, 6, 7]
    assert found["chapters"][2]["decisions"][0]["detail"]["pairs"] == 6


def test_the_seed_has_a_history_too(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    found = evo("history", "seed", "--json").json()
    assert len(found["chapters"]) == 1 and found["search"] is None
    assert evo("history", "seed").code == 0


def test_a_diff_needs_two_or_the_seed(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    assert evo("diff", "best", "--from-seed").out == evo("diff", "seed", "best").out
    for words in (("best",), ("seed", "best", "--from-seed")):
        said = evo("diff", *words)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "give two variants, or one with --from-seed" in said.err


def test_a_diff_of_very_many_lines_is_cut_on_a_screen_and_whole_in_json(
    evo: Evo, campaign: tuple[Built, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evo("diff", "seed", "best").out.splitlines()
    monkeypatch.setattr("evo.cli.lineage.MAX_DIFF_LINES", 3)
    assert evo("diff", "seed", "best").out.splitlines() == whole  # into a pipe or a file
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    said = evo("diff", "seed", "best")
    shown = re.sub(r"\x1b\[[\d;]*m", "", said.out).splitlines()
    assert [one.split() for one in shown] == [one.split() for one in whole[:3]]
    assert f"{len(whole) - 3} more lines are left out" in said.err
    assert evo("diff", "seed", "best", "--json").json()["diff"].splitlines() == whole


def test_a_diff_into_a_file_is_a_patch_however_narrow_the_terminal(
    evo: Evo, campaign: tuple[Built, str, str], tmp_path: Path
) -> None:
    leader = campaign[1]
    for name in ("seed", leader):
        evo("export", name, "-o", tmp_path / f"{name}.py")
    (tmp_path / "train.py").write_text((tmp_path / "seed.py").read_text())
    (tmp_path / "my.patch").write_text(evo("diff", "seed", leader, columns=20).out)
    subprocess.run(["git", "apply", "my.patch"], cwd=tmp_path, check=True)
    assert (tmp_path / "train.py").read_text() == (tmp_path / f"{leader}.py").read_text()


UNREADABLE = [
    "def f():\n" + "\n" * 30_000 + "    pass\n",
    "x" + ".a" * 450 + "\n",
    "X = 1" + "**1" * 5_000 + "\n",
    "X = '\0'\n",
    "SEED = 0x" + "f" * 6_000 + "\n",
    "".join(f"if x: y{at}()\n" for at in range(1_500)),
]


def test_hostile_sources_of_an_older_campaign_can_be_read(
    evo: Evo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.analysis.built.fingerprint", variant_id)  # some have none today
    built = Built(tmp_path / "campaigns" / "built-1")
    built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE)
    last = built.seed
    for at, text in enumerate(UNREADABLE):
        last = built.child(f"LR = 0.{at + 2}\n{text}", last)
        built.run(last, 2.4 - at / 100)
    for words in (
        *(("diff", "seed", "last"), ("diff", "best", "--from-seed", "--json"), ("show", "last")),
        *(("history", "last"), ("history", "last", "--json"), ("tree",), ("report",)),
        ("export", "last", "--patch", "-o", "-"),
    ):
        said = evo(*words)
        assert (said.code, said.err.count("Traceback")) == (0, 0), said.err


@pytest.mark.parametrize("onto", ["seed", "parent"])
def test_a_patch_applies_and_carries_its_evidence(
    evo: Evo, campaign: tuple[Built, str, str], tmp_path: Path, onto: str
) -> None:
    built, leader, _ = campaign
    wild = built.child(
        SEED.replace("0.1", "0.3").strip() + "\x0c  # \u2028 no end", leader, "x", HOSTILE
    )
    base = "seed" if onto == "seed" else leader[:8]
    said = evo("export", wild[:8], "--patch", "--onto", onto)
    assert said.code == 0 and f"git apply {wild[:8]}.patch   with --directory=DIR" in said.out
    repository = tmp_path / "repository"
    repository.mkdir()
    evo("export", base, "-o", repository / "train.py")
    evo("export", wild[:8], "-o", tmp_path / "wanted.py")
    applied = subprocess.run(
        ["git", "apply", "-v", str(tmp_path / f"{wild[:8]}.patch")],
        cwd=repository,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "GIT_CEILING_DIRECTORIES": str(tmp_path)},
    )
    assert applied.returncode == 0, applied.stderr
    assert (repository / "train.py").read_bytes() == (tmp_path / "wanted.py").read_bytes()
    assert sorted(path.name for path in repository.iterdir()) == ["train.py"]
    message = (tmp_path / f"{wild[:8]}.patch").read_text().split("\n---\n")[0]
    for words in (
        wild,
        "1. nudge: LR 0.1 -> 0.2",
        "(0.0700 better (n=1) compared with its parent)",
    ):
        assert words in message
    assert "\x1b" not in message


def test_git_am_makes_a_commit_with_the_evidence_of_it(tmp_path: Path) -> None:
    patch = patch_text("a\nb\n", "a\nc\n", "turn b into c", ["n = 3", "", "better"], 1e9)
    (tmp_path / "one.patch").write_text(patch)
    (tmp_path / "train.py").write_text("a\nb\n")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@localhost")
    for words in (("init", "-q"), ("add", "train.py"), ("commit", "-qm", "x"), ("am", "one.patch")):
        subprocess.run([*git, *words], cwd=tmp_path, check=True, capture_output=True)
    log = subprocess.run(
        ["git", "log", "-1", "--format=%s|%b"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert log.stdout.startswith("turn b into c|  n = 3")
    assert (tmp_path / "train.py").read_text() == "a\nc\n"


@pytest.mark.parametrize("here", [".", "seed", "other"])
def test_the_line_that_applies_a_patch_works_in_the_repository_of_the_seed(
    evo: Evo,
    campaign: tuple[Built, str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: str,
) -> None:
    built, leader, _ = campaign
    file, wanted = tmp_path / "seed" / "train.py", tmp_path / "wanted.py"
    (tmp_path / "other").mkdir()
    evo("export", "seed", "-o", file)
    evo("export", leader, "-o", wanted)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    built.store.set_setting("config", {**built.store.setting("config"), "train": str(file)})
    monkeypatch.chdir(tmp_path / here)
    said = evo("export", leader, "--patch", "--dir", built.folder)
    line = said.out.splitlines()[1]
    subprocess.run(shlex.split(line), check=True)
    assert file.read_text() == wanted.read_text(), line


def test_what_is_equal_gives_no_patch(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    said = evo("export", "seed", "--patch")
    assert said.code == 2 and "--onto names something else" in said.err
    assert evo("export", "best", "--patch", "--with-harness").code == 2
    assert evo("export", "best", "--patch", "-o", "-").out.startswith("From 0000")
