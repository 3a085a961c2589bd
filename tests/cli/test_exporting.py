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
