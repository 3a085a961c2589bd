"""Taking a variant home: the file, how to run it as it was measured, and what is never written over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evo.cli.setup import as_measured
from evo.config import read_config
from evo.folder import Folder, create_campaign
from population.store import Store
from population.types import Measurement, Purpose, RunRequest, Status
from tests.analysis.built import SEED, Built, finished
from tests.cli.driving import MAIN, ROOT, Evo

SCALE = "CLOCK=cpu_seconds BUDGET_SECONDS=0.1 DEPTH=2 CONTEXT=64"


@pytest.fixture
def folder(quick: Path, tmp_path: Path) -> Folder:
    return create_campaign(read_config(quick), tmp_path / "campaigns" / "quick-1")


def test_an_export_prints_how_to_run_it_as_it_was_measured(evo: Evo, folder: Folder) -> None:
    assert f"{SCALE} python train.py" in evo("export", "seed").out
    there = f"PYTHONPATH={ROOT}/seed"  # no harness lies beside it
    assert f"cd 'a b' && {there} {SCALE} python t.py" in evo("export", "seed", "-o", "a b/t.py").out
    by_hand = evo("export", "seed", "-o", "other.py", "--json").json()["by_hand"]
    assert (by_hand["rung"], by_hand["settings"]["DEPTH"]) == ("proxy", "2")


def test_the_script_beside_it_gives_these_settings_and_each_can_be_overridden(
    evo: Evo, folder: Folder, tmp_path: Path
) -> None:
    said = evo("export", "seed", "-o", "out/train.py", "--with-harness")
    assert "`sh out/run.sh` does just that" in said.out, said.err
    (tmp_path / "out" / "train.py").write_text("")
    (tmp_path / "python").write_text(
        '#!/bin/sh\necho "$CLOCK $BUDGET_SECONDS $DEPTH $CONTEXT $1"\n'
    )
    (tmp_path / "python").chmod(0o755)
    printed = subprocess.run(
        ["sh", "out/run.sh"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(tmp_path / "python"), "DEPTH": "5"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "cpu_seconds 0.1 5 64 train.py\n"


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (("-o", "new/"), {"new/train.py"}),
        (("-o", "new/", "--patch", "--onto", "seed"), set[str]()),
        (("-o", "home", "--with-harness"), {"home/train.py", "home/harness.py", "home/run.sh"}),
        (("-o", "my.py", "--with-harness"), {"my.py", "harness.py", "run.sh"}),
    ],
)
def test_a_slash_means_a_folder_and_every_file_that_is_written_is_named(
    evo: Evo, folder: Folder, tmp_path: Path, words: tuple[str, ...], files: set[str]
) -> None:
    said = evo("export", "seed", *words)
    found = {one.relative_to(tmp_path) for one in tmp_path.rglob("*") if one.is_file()}
    found = {one for one in found if one.parts[0] not in ("campaigns", "quick.yaml")}
    assert files <= {one.as_posix() for one in found}, said.err
    assert all(one.name in said.out for one in found), said.out
    assert found if files else not found


def test_a_clock_left_to_the_machine_is_the_one_its_runs_had_and_own_data_is_told(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("A sentence of my own. " * 4000)
    config = read_config(quick, ["clock=auto", f"data.path={tmp_path / 'mine.txt'}"])
    folder = create_campaign(config, tmp_path / "c")
    with folder.open_store() as store:
        found = as_measured(store, Path("train.py"))
        assert found is not None and found.settings["CLOCK"] == "cpu_seconds"
        assert "not on your data.path: no figure compares" in " ".join(found.differences)
        seed = store.query("SELECT id FROM variants")[0][0]
        request = RunRequest(seed, "proxy", 0, 0, Purpose.CALIBRATE)
        store.add_measurement(Measurement(request, Status.OK, device="cuda"))
        found = as_measured(store, Path("train.py"))
        assert found is not None and found.settings["CLOCK"] == "seconds"


def test_an_export_harms_no_campaign_and_no_file_of_the_users(
    evo: Evo, folder: Folder, tmp_path: Path
) -> None:
    for name in ("config.yaml", "campaign.db", "brief.md", "runs/x.py"):
        said = evo("export", "seed", "-o", folder.path / name, "--force")
        assert (said.code, "belongs to the campaign" in said.err) == (2, True), name
    (tmp_path / "harness.py").write_text("mine")
    said = evo("export", "seed", "--with-harness")
    assert (said.code, "harness.py exists; --force" in said.err) == (2, True)
    assert not (tmp_path / "train.py").exists()
    with Store.open(folder.database, read_only=True) as store:
        assert store.setting("kind") == "campaign"


def test_the_seed_alone_can_be_put_back_with_the_command_that_the_refusal_names(
    evo: Evo, folder: Folder
) -> None:
    seed = (folder.path / "train.py").read_bytes()
    (folder.path / "train.py").write_text("import harness\n")
    said = evo("resume")
    assert said.code == 2
    command = said.err.split("`")[1].split()
    assert "exists; --force" in evo("export", "seed", "-o", folder.path / "train.py").err
    assert evo(*command[1:]).code == 0, said.err
    assert (folder.path / "train.py").read_bytes() == seed


@pytest.mark.parametrize("output", ["-", "/dev/stdout"])
@pytest.mark.parametrize("words", [("export", "seed"), ("report",)])
def test_what_goes_to_stdout_is_the_file_and_nothing_else(
    folder: Folder, tmp_path: Path, output: str, words: tuple[str, ...]
) -> None:
    with (tmp_path / "out").open("wb") as out:
        command = [sys.executable, "-c", MAIN, *words, "-o", output]
        subprocess.run(command, cwd=tmp_path, stdout=out, check=True, timeout=120)
    text = (tmp_path / "out").read_text(encoding="utf-8")
    if words[0] == "export":
        assert text == (folder.path / "train.py").read_text(encoding="utf-8")
    else:
        assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")


# -- As a branch.


def git(where: Path, *words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, one change that is staged and one that is not; the folder we are in."""
    where = tmp_path / "mine"
    where.mkdir()
    git(where, "init", "-q", "-b", "main")
    git(where, "config", "user.name", "Ada")
    git(where, "config", "user.email", "ada@example.org")
    hook = where / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    (where / "other.txt").write_text("one\n")
    git(where, "-c", "core.hooksPath=/dev/null", "add", ".")
    git(where, "-c", "core.hooksPath=/dev/null", "commit", "-qm", "begin")
    (where / "staged.txt").write_text("two\n")
    git(where, "add", "staged.txt")
    (where / "other.txt").write_text("changed\n")
    monkeypatch.chdir(where)
    return where


def test_a_lineage_becomes_a_branch_of_one_commit_a_step_and_touches_nothing_else(
    evo: Evo, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    between = built.child(SEED.replace("0.1", "0.15"), leader, idea="half of it")
    last = built.child(SEED.replace("0.1", "0.16"), between, idea="a little more")
    built.store.close()
    monkeypatch.chdir(repository)
    before = git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")
    said = evo("export", last, "--branch", "found", "-o", "src/train.py", "--dir", tmp_path / "c")
    assert said.code == 0, said.err
    assert (
        git(repository, "status", "--porcelain"),
        git(repository, "rev-parse", "HEAD"),
    ) == before
    assert not (repository / "hooked").exists()
    subjects = git(repository, "log", "--format=%s", "main..found").splitlines()
    assert subjects[:2] == ["a little more", "half of it"]
    assert subjects[-1].startswith("Begin with the seed of c")
    assert git(repository, "show", "found:src/train.py") == SEED.replace("0.1", "0.16").strip()
    assert git(repository, "show", "found:other.txt") == "one"  # the rest is HEAD's
    assert f"variant {between}" in git(repository, "log", "-1", "--format=%b", "found~1")
    assert git(repository, "show", "found~1:src/train.py") == SEED.replace("0.1", "0.15").strip()


def test_a_branch_that_is_there_a_bad_name_and_a_path_outside_are_refused(
    evo: Evo, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    monkeypatch.chdir(repository)
    folder = ("--dir", tmp_path / "c")
    assert evo("export", leader, "--branch", "found", *folder).code == 0
    refused = evo("export", leader, "--branch", "found", *folder)
    assert refused.code == 2 and "--force moves it" in refused.err
    assert evo("export", leader, "--branch", "found", "--force", *folder).code == 0
    head = git(repository, "rev-parse", "main")
    for words, told in (
        (("--branch", "main", "--force"), "cannot be set"),
        (("--branch", "a b"), "cannot be the name"),
        (("--branch", "-f"), "cannot be the name"),
        (("--branch", "b2", "-o", "../train.py"), "inside the repository"),
        (("--branch", "b3", "-o", ".git/config"), "inside the repository"),
        (("--branch", "b4", "--patch"), "none of --patch"),
    ):
        refused = evo("export", leader, *words, *folder)
        assert refused.code == 2 and told in refused.err, (words, refused.err)
    assert git(repository, "rev-parse", "main") == head
    assert git(repository, "branch", "--format=%(refname:short)").split() == ["found", "main"]
    monkeypatch.chdir(tmp_path)
    nowhere = evo("export", leader, "--branch", "found", *folder)
    assert nowhere.code == 2 and "no git repository there" in nowhere.err


def test_in_a_repository_that_holds_the_seed_the_branch_begins_with_the_first_edit(
    evo: Evo, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Built(tmp_path / "c")
    child = built.child(SEED.replace("0.1", "0.2"), built.seed, idea="twice")
    built.store.close()
    monkeypatch.chdir(repository)
    (repository / "train.py").write_text(SEED)
    git(repository, "-c", "core.hooksPath=/dev/null", "add", "train.py")
    git(repository, "-c", "core.hooksPath=/dev/null", "commit", "-qm", "the seed")
    said = evo("export", child, "--branch", "found", "--dir", tmp_path / "c", "--json")
    assert said.json()["commits"] == 1
    assert git(repository, "log", "--format=%s", "main..found") == "twice"
