"""Where commands write: into a folder of their own, whole, and never over anything of the user's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evo.config import read_config
from evo.files import drafted, objection, write_file
from evo.folder import create_campaign
from tests.cli.driving import ROOT, Evo


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with what it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"/"
        for path in sorted(folder.rglob("*"))
    }


def precious(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.py").write_text("my own work\n")


def only_hidden(folder: Path) -> None:
    folder.mkdir()
    (folder / ".git").mkdir()


def own_lock(folder: Path) -> None:
    folder.mkdir()
    (folder / "lock").write_text("the combination of my safe\n")


def seed_itself(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.py").write_bytes((ROOT / "tests" / "standins" / "quick.py").read_bytes())


def with_campaigns(folder: Path) -> None:
    (folder / "campaigns" / "other-1").mkdir(parents=True)


def init_wrote_it(folder: Path) -> None:
    (folder / "seed").mkdir(parents=True)
    (folder / "campaign.yaml").write_text("name: mine\n")


def link_to_nothing(folder: Path) -> None:
    folder.symlink_to("nowhere")


def inside_a_campaign(folder: Path) -> None:
    (folder.parent / "campaign.db").touch()


@pytest.mark.parametrize("command", ["run", "calibrate"])
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (precious, "is not empty (train.py)"),
        (only_hidden, "is not empty (.git)"),
        (own_lock, "is not empty (lock)"),
        (seed_itself, "is where this campaign's seed lies"),
        (with_campaigns, "--dir 'my work/c"),
        (init_wrote_it, "campaign.yaml'` without --dir"),
        (link_to_nothing, "is a link that leads to nothing"),
        (inside_a_campaign, "lies inside the campaign in"),
    ],
)
def test_a_folder_with_anything_in_it_is_refused_and_left_as_it_was(
    evo: Evo, quick: Path, tmp_path: Path, command: str, make: Callable[[Path], None], told: str
) -> None:
    folder = tmp_path / "my work"
    make(folder)
    if make is seed_itself:
        quick.write_text(
            quick.read_text().replace(f"{ROOT}/tests/standins/quick.py", "my work/train.py")
        )
    before = contents(tmp_path)
    said = evo(command, quick, "--dir", folder.relative_to(tmp_path))
    assert (said.code, told in said.err, said.err.count("\n")) == (2, True, 1), said.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "left", [{}, {"lock": "31415"}, {"campaign.new": "", "train.py": "half", ".evo-draft-1": ""}]
)
def test_an_empty_folder_a_lone_lock_and_a_creation_that_was_killed_can_be_used(
    quick: Path, tmp_path: Path, left: dict[str, str]
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for name, text in left.items():
        (folder / name).write_text(text)
    made = create_campaign(read_config(quick), folder)
    assert made.database.is_file()
    assert "harness" in (folder / "train.py").read_text()


def test_a_start_that_fails_leaves_an_empty_folder_empty(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    stand_in = (ROOT / "tests" / "standins" / "quick.py").read_text()
    broken = stand_in.replace("rng = ", "raise SystemError('early')\nrng = ")
    (tmp_path / "broken.py").write_text(broken)
    changes = ("--set", "train=broken.py", "--set", "rungs.proxy.startup_seconds=auto")
    said = evo("run", quick, "--dir", "empty", *changes)
    assert (said.code, "the seed fails" in said.err) == (2, True)
    assert not list((tmp_path / "empty").iterdir())


def test_modules_beside_train_py_go_with_it_and_stay_as_they_were(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    """Also what a module imports; a folder of the user's that changes later changes nothing."""
    (tmp_path / "mine").mkdir()
    loop = (ROOT / "tests" / "standins" / "quick.py").read_text()
    (tmp_path / "mine" / "train.py").write_text(loop.replace("MIX = 0.8", "from mixing import MIX"))
    (tmp_path / "mine" / "mixing.py").write_text("from numbers_of_mine import MIX\n")
    (tmp_path / "mine" / "numbers_of_mine.py").write_text("MIX = 0.8\n")
    (tmp_path / "mine" / "unused.py").write_text("raise SystemExit\n")
    own = ("--set", "train=mine/train.py", "--set", "policy.seed_blocks=1", "--plain")
    few = ("policy.final_blocks=0", "policy.reference_every=0", "certification.attempts=0")
    changes = [word for one in (*few, "graduation.graduates=0") for word in ("--set", one)]
    ran = evo("run", quick, *own, *changes, "--set", "budget.variants=1", "--dir", "c")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in Path("c/modules").iterdir()) == [
        "mixing.py",
        "numbers_of_mine.py",
    ]
    (tmp_path / "mine" / "mixing.py").unlink()
    assert evo("resume", "--dir", "c", "--set", "budget.variants=2", "--plain").code == 0
    rows = evo("tree", "--dir", "c", "--json").json()
    assert len(rows) == 3 and all(one["estimate"] for one in rows)
    assert evo("export", "seed", "-o", "home/train.py", "--with-harness", "--dir", "c").code == 0
    assert Path("home/numbers_of_mine.py").read_text() == "MIX = 0.8\n"
    Path("c/modules/numbers_of_mine.py").write_text("MIX = 0.9\n")
    refused = evo("resume", "--dir", "c", "--set", "budget.variants=3", "--plain")
    assert refused.code and "a module has changed since this campaign began" in refused.err
    lone = evo("evaluate", "mine/train.py", "--config", quick, "--json").json()
    assert "imports mixing, which is not installed here" in lone["reason"]


def test_two_that_ask_for_a_name_at_once_get_two(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from evo.cli.folder import take_folder\n"
        "sys.stdin.read()\n"
        "for _ in range(20): print(take_folder(Path(sys.argv[1]), 'tiny', 'campaigns').name)"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    both = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        assert one.stdin is not None
        one.stdin.close()
    named = [name for one in both for name in (one.stdout or []) if one.wait() == 0]
    assert sorted(named) == sorted({f"tiny-{number}\n" for number in range(1, 41)})
    for one in both:
        assert one.stdout is not None
        one.stdout.close()


def test_files_are_written_whole_or_not_at_all_and_links_lead_on(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("before")
    real.chmod(0o640)
    link.symlink_to("real")
    with pytest.raises(ZeroDivisionError), drafted(real) as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert real.read_text() == "before"
    write_file(link, "→")
    assert (link.is_symlink(), real.read_bytes().decode()) == (True, "→")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    with pytest.raises(FileExistsError):
        write_file(link, "other", replace=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
    write_file(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_what_may_be_written_where_is_told_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "read-only").write_text("mine")
    (tmp_path / "read-only").chmod(0o444)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "campaign.db").touch()
    for name, force, told in (
        ("file", False, "--force overwrites it"),
        ("dangling", True, "leads to nothing"),
        ("read-only", True, "write-protected"),
        ("", True, "is a folder"),
        ("file/below", True, "is no folder"),
        ("c/campaign.db-wal", True, "belongs to the campaign"),
        ("c/train.py", True, "belongs to the campaign"),
        ("c/runs/mine.html", True, "belongs to the campaign"),
    ):
        assert told in (objection(tmp_path / name, force) or ""), name
    for name, ours in (("file", "mine"), ("new/folder/file", ""), ("c/report.html", "")):
        assert objection(tmp_path / name, ours=ours) is None, name
    assert objection(Path("/dev/stdout")) is None


def test_init_writes_through_no_link_and_over_nothing(evo: Evo, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "brief.md").symlink_to(tmp_path / "elsewhere")
    said = evo("init", "mine")
    assert (said.code, "holds brief.md already" in said.err) == (2, True)
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "mine" / "seed").exists()


def test_a_bench_overwrites_its_own_page_and_no_other(
    evo: Evo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / "notes.yaml").write_text("{}")
    said = evo("bench", "notes.yaml", "-o", ".")
    assert (said.code, "notes.md exists; --force" in said.err) == (2, True), said.err
    assert (tmp_path / "notes.md").read_text() == "mine"


def test_a_benchs_file_and_a_campaigns_file_are_told_apart(evo: Evo, tmp_path: Path) -> None:
    (tmp_path / "my bench.yaml").write_text("contestants: [ours, tpe]\nseeds: 2\n")
    (tmp_path / "my run.yaml").write_text("rungs: {proxy: {depth: 2, budget: 1}}\nunknown: 1\n")
    for words, told in (
        (("run", "my bench.yaml"), "`evo bench 'my bench.yaml'` plays it"),
        (("calibrate", "my bench.yaml"), "`evo bench 'my bench.yaml'` plays it"),
        (("bench", "my run.yaml"), "`evo run 'my run.yaml'` runs it"),
    ):
        said = evo(*words)
        assert (said.code, told in said.err, said.err.count("\n")) == (2, True, 1), said.err
