"""Locked files that say who holds them: a campaign's folder is run by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO

HELD = {
    errno.EAGAIN,
    errno.EACCES,
    errno.EWOULDBLOCK,
}  # of flock: any other error means something else
TRIES, PAUSE = 10, 0.05  # a reading command looks for an instant whether a lock is held


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock, in its own words: pid 0 when it did not say."""

    pid: int = 0
    host: str = ""
    since: float = 0.0  # seconds since the epoch
    command: str = ""
    about: str = ""  # what the lock is for, where its path does not say

    @classmethod
    def here(cls, about: str = "") -> Holder:
        """This process."""
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        return cls(os.getpid(), socket.gethostname(), time.time(), command, about)

    def __str__(self) -> str:
        if not self.pid:
            return "a process that left no name"
        if not self.host:
            return f"process {self.pid}"
        local = self.host == socket.gethostname()
        seen = "alive, " if Path(f"/proc/{self.pid}").exists() else "not seen from here, "
        began = time.strftime("%d %b %H:%M", time.localtime(self.since))
        where = "" if local else f" on host {self.host}"
        return f"process {self.pid}{where} ({seen * local}started {began}: {self.command})"


class Held(Exception):
    """Another process holds the lock; `holder` says which."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(str(holder))
        self.holder = holder


class Unlockable(Exception):
    """Nothing can be locked there; the message says why."""


@contextmanager
def hold(path: Path, about: str = "") -> Iterator[None]:
    """Hold a lock file, made where it is missing. Held, Unlockable, or OSError where it cannot be opened."""
    with _locked(path) as lock:
        lock.seek(0)
        lock.truncate()
        lock.write(json.dumps(asdict(Holder.here(about))))
        lock.flush()
        yield


def holder_of(path: Path) -> Holder | None:
    """Who holds a lock file; None when nobody does, or nobody can say."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                return _read(lock) if error.errno in HELD else None
    except OSError:
        return None
    return None


def is_lock(path: Path) -> bool:
    """Whether a file is empty or says who held it, and so is a lock of ours and nobody's work."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lock:
            return bool(_read(lock).pid) or not path.stat().st_size
    except OSError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    for left in reversed(range(TRIES)):
        with open(path, "a+", encoding="utf-8", errors="replace") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in HELD:
                    raise Unlockable(
                        f"{path} cannot be locked: {error.strerror}; a file system without locks, such as "
                        "some network mounts, cannot hold a running campaign: use a local folder"
                    ) from error
                if not left:
                    raise Held(_read(lock)) from error
            else:
                if _is_still(lock, path):
                    yield lock
                    return
        time.sleep(PAUSE)
    raise Held(Holder())


def _is_still(lock: IO[str], path: Path) -> bool:
    """Whether the locked file is the one that lies there; it may have been removed in between."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(path))
    except OSError:
        return False


def _read(lock: IO[str]) -> Holder:
    lock.seek(0)
    text = lock.read().strip()
    if text.isdigit():  # of an older version
        return Holder(int(text))
    try:
        found = json.loads(text)
        return Holder(**{one.name: found[one.name] for one in fields(Holder) if one.name in found})
    except (ValueError, TypeError):
        return Holder()
