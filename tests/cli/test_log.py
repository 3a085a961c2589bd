"""`evo log`: what happened, from the store, also while it happens."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from evo.folder import Folder, locked
from population.store import Store
from tests.analysis.built import Built

from .driving import Evo, process, started


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a campaign with more events than a live view holds."""
    one = Built(tmp_path_factory.mktemp("log") / "built-1")
    for place in range(1500):
        one.store.add_event("measured", f"event {place}")
    one.store.add_event("end", "waiting for your word: `evo approve`\x1b[31m\nnext")
    one.store.close()
    return one.folder


@pytest.fixture
def built(long: Path, tmp_path: Path) -> Path:
    """A copy of it, where `evo` looks."""
    return Path(shutil.copytree(long, tmp_path / "campaigns" / "built-1"))


def test_everything_that_scrolled_away_is_there_a_line_each_with_its_time(
    evo: Evo, built: Path
) -> None:
    lines = evo("log").out.splitlines()
    assert len(lines) == 1501
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  event 0", lines[0])
    assert lines[-1].endswith("`evo approve` next") and "\x1b" not in lines[-1]
    assert evo("log", "-n", "3").out.splitlines()[0].endswith("event 1498")
    assert evo("log", "-n", "0").out == ""


def test_the_log_as_json_has_kind_text_and_time(evo: Evo, built: Path) -> None:
    last = evo("log", "--json", "-n", "2").json()[-1]
    assert last["kind"] == "end" and last["created_at"] > 0
    lines = evo("log", "--json", "-f", "-n", "2").out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["measured", "end"]


def test_following_shows_what_comes_and_ends_with_the_campaign(built: Path, tmp_path: Path) -> None:
    with started("log", "-f", "-n", "1", cwd=tmp_path) as running:
        assert running.stdout is not None
        with locked(Folder(built)), Store.open(built / "campaign.db") as store:
            assert "evo approve" in running.stdout.readline()
            store.add_event("measured", "a later one")
            assert "a later one" in running.stdout.readline()
            store.add_event("end", "the last one")
        assert "the last one" in running.stdout.read()
        assert running.wait(60) == 0


def test_following_a_campaign_that_nobody_runs_ends_at_once(built: Path, tmp_path: Path) -> None:
    said = process("log", "-f", "-n", "2", cwd=tmp_path)
    assert said.code == 0 and len(said.out.splitlines()) == 2


def test_a_campaign_without_events_says_so(evo: Evo, tmp_path: Path) -> None:
    Built(tmp_path / "campaigns" / "built-1").store.close()
    assert "Nothing has happened" in evo("log").out
