"""Campaigns that share cores tell of each other, whichever began first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evo.runtime.neighbours import Neighbours, runtime_folder

OTHER = """
import sys
from pathlib import Path
from evo.runtime.neighbours import Neighbours
one = Neighbours(Path(sys.argv[1]), sys.argv[2:])
for line in sys.stdin:
    print(repr(one()), flush=True)
"""


class Other:
    """A campaign's process elsewhere."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def says(self) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Other]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    other = Other("theirs", "cpu1", "cpu2")
    assert other.says() == "''\n"
    yield other
    other.process.kill()
    other.process.communicate()


def test_each_of_two_on_the_same_core_tells_of_the_other_once(other: Other, tmp_path: Path) -> None:
    ours = Neighbours(tmp_path / "ours", ["cpu0", "cpu1"])
    told = ours()
    assert told.startswith(f"cpu1 also measured on by process {other.process.pid} (")
    assert "theirs)" in told
    theirs = other.says()
    assert f"cpu1 also measured on by process {os.getpid()} ({tmp_path / 'ours'})" in theirs
    assert (ours(), other.says()) == ("", "''\n")
    ours.close()


def test_other_cores_are_no_matter_and_who_was_killed_leaves_nothing(
    other: Other, tmp_path: Path
) -> None:
    elsewhere = Neighbours(tmp_path, ["cpu7"])
    assert elsewhere() == ""
    elsewhere.close()
    assert len(list(runtime_folder().iterdir())) == 1
    other.process.kill()
    other.process.wait()
    late = Neighbours(tmp_path, ["cpu1"])
    assert late() == ""
    late.close()
    assert not list(runtime_folder().iterdir())


def test_a_place_that_is_somebody_elses_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "theirs").mkdir()
    runtime_folder().symlink_to(tmp_path / "theirs")
    one = Neighbours(tmp_path, ["cpu0"])
    assert one() == ""
    one.close()
    assert not list((tmp_path / "theirs").iterdir())
