"""A locked file says who holds it, and only what is held is said to be."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evo import lock
from evo.folder import CampaignError, Folder, locked
from evo.lock import Held, Holder, Unlockable, hold, holder_of, is_lock

HOLD = (
    "import sys; from pathlib import Path; from evo.lock import hold\n"
    "with hold(Path(sys.argv[1]), 'mine'): print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[int]:
    """The id of another process that holds the lock; it lets go at the end."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.stdin.close()


def test_who_holds_a_lock_is_told_with_host_start_and_command(
    tmp_path: Path, elsewhere: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PAUSE", 0.0)
    found = holder_of(tmp_path / "lock")
    assert found is not None and (found.pid, found.host) == (elsewhere, socket.gethostname())
    assert (found.command.split()[0], found.about) == ("-c", "mine")
    told = rf"run by process {elsewhere} \(alive, started .*: -c"
    with pytest.raises(CampaignError, match=told), locked(Folder(tmp_path)):
        pass


def test_a_lock_of_another_host_or_an_older_version_says_what_is_known() -> None:
    assert "process 7 on host far (started" in str(Holder(7, "far", 1e9, "evo run x"))
    assert str(Holder(7)) == "process 7"
    assert "not seen from here" in str(Holder(2**22 + 1, socket.gethostname(), 1e9, "evo"))
    assert "left no name" in str(Holder())


@pytest.mark.parametrize("left", ["", "123", json.dumps({"pid": 5, "new_key": 1}), "\0\xff{"])
def test_a_lock_that_nobody_holds_is_free_whatever_it_says(tmp_path: Path, left: str) -> None:
    path = tmp_path / "lock"
    path.write_text(left, encoding="latin-1")
    assert holder_of(path) is None
    assert is_lock(path) is (not left.startswith("\0"))
    with hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
        assert holder_of(path) is not None
    assert holder_of(path) is None


def test_a_glance_at_a_lock_does_not_keep_anybody_from_taking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.touch()
    glance = path.open()
    fcntl.flock(glance, fcntl.LOCK_SH)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: glance.close())
    with hold(path):
        pass


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "lock", fcntl.flock
    removed: list[int] = []

    def remove_first(file: object, how: int) -> None:
        if not removed:
            removed.append(1)
            path.unlink()
        real(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with hold(path):
        assert path.exists() and removed


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EAGAIN, Held),
        (errno.EACCES, Held),
        (errno.ENOLCK, Unlockable),
        (errno.EOPNOTSUPP, Unlockable),
        (errno.ENOSYS, Unlockable),
        (errno.EINVAL, Unlockable),
    ],
)
def test_only_what_is_held_is_called_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "PAUSE", 0.0)
    with pytest.raises(error), hold(tmp_path / "lock"):
        pass
    assert (holder_of(tmp_path / "lock") is not None) is (error is Held)
    if error is Unlockable:
        with pytest.raises(CampaignError, match="use a local folder"), locked(Folder(tmp_path)):
            pass
