"""Files for people: each is written beside its place and renamed, and none that is not ours is replaced."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STORE = "campaign.db"
LIVE = "live.json"  # what the slots do now
DRAFT = ".evo-draft-"  # how the names of files begin that are not finished yet
OF_A_CAMPAIGN = {  # what a campaign's folder holds of its own, by name
    "agents",
    "brief.md",
    "config.yaml",
    "data",
    LIVE,
    "lock",
    "modules",
    "runs",
    "train.py",
    "weights",
}


def objection(path: Path, force: bool = False, ours: str = "") -> str | None:
    """Why no file may be written at `path`, with the fix; None when it may.

    `force`: a file that is there may be replaced. `ours`: so may one that holds these words, because we
    wrote it. Missing folders are no objection: `write_file` makes them.
    """
    if path.is_dir():
        return f"{path} is a folder; give the file to write"
    if (of := campaign_around(path)) and is_its_own(of, path):
        return f"{path} belongs to the campaign in {of}; give another file"
    if not os.path.lexists(path):
        above = next(one for one in path.absolute().parents if os.path.lexists(one))
        return None if above.is_dir() else f"{above} is no folder, so {path} cannot lie in it"
    if not path.exists():
        return f"{path} is a link that leads to nothing; give another file, or remove it"
    mode = path.stat().st_mode
    if _is_stream(path):
        return None  # nothing in it is lost
    if not stat.S_ISREG(mode):
        return f"{path} is no plain file; give another one"
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} is write-protected; give another file, or `chmod u+w` it"
    if force or (ours and holds(path, ours)):
        return None
    return f"{path} exists; --force overwrites it"


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a device such as a terminal, or what this process prints to."""
    if str(path).startswith(("/dev/std", "/dev/fd/", "/proc/self/fd/")):
        return True
    mode = path.stat().st_mode if path.exists() else 0
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def holds(path: Path, words: str) -> bool:
    """Whether a file holds these words; False for one that cannot be read."""
    try:
        return words.encode() in path.read_bytes()
    except OSError:
        return False


def campaign_around(path: Path) -> Path | None:
    """The campaign's folder that `path` lies in, however deep; None for none."""
    real = Path(os.path.realpath(path))
    return next((one for one in real.parents if (one / STORE).is_file()), None)


def is_its_own(folder: Path, path: Path) -> bool:
    """Whether a path inside a campaign's folder is one of those that the campaign writes or deletes."""
    first = Path(os.path.realpath(path)).relative_to(folder).parts[0]
    return first in OF_A_CAMPAIGN or first.startswith(Path(STORE).stem + ".")


def write_file(path: Path, content: bytes | str, replace: bool = True) -> None:
    """Write a file whole or not at all, text as UTF-8; missing folders are made.

    `replace=False`: FileExistsError where something has come to lie there. A device or a pipe is written to.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    if _is_stream(path):
        path.write_bytes(data)
        return
    with drafted(path, replace) as draft:
        draft.write_bytes(data)


@contextmanager
def drafted(path: Path, replace: bool = True) -> Iterator[Path]:
    """An empty file beside `path` that takes its place at the end; gone when something fails.

    A link stays and what it leads to is replaced, with its mode. `replace` as for `write_file`.
    """
    target = Path(os.path.realpath(path)) if replace else path
    draft = target.with_name(f"{DRAFT}{os.getpid()}-{secrets.token_hex(4)}")
    draft.open("xb").close()
    try:
        yield draft
        if replace and target.exists():
            draft.chmod(stat.S_IMODE(target.stat().st_mode))
        if replace:
            os.replace(draft, target)
        else:
            _move_to_free_place(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _move_to_free_place(draft: Path, target: Path) -> None:
    """A rename replaces without a word; a link does not."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(17, "File exists", str(target)) from None
        os.replace(draft, target)


def take_back(path: Path, most_bytes: int) -> str:
    """The text of one regular file, never through a link. ValueError says what it is instead."""
    try:
        return take_bytes(path, most_bytes).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from None


def take_bytes(path: Path, most_bytes: int) -> bytes:
    """What one regular file holds, never through a link. ValueError says what it is instead."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ValueError("is gone") from None
    except OSError as error:
        kind = "is a link" if path.is_symlink() else f"cannot be opened: {error.strerror}"
        raise ValueError(kind) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("is no regular file")
        with os.fdopen(os.dup(fd), "rb") as file:
            raw = file.read(most_bytes + 1)
    finally:
        os.close(fd)
    if len(raw) > most_bytes:
        raise ValueError(f"is larger than {most_bytes:,} bytes")
    return raw
