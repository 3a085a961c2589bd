"""What roles see of this machine's programs: a copy in memory, made once and read-only in every box.

A file system that two roles or two runs both look at is a blackboard between them: a name looked for in
vain, a page fetched from disk, a mark on a file are found again by the next. So nothing of the disk is shown.
The copy lies in a folder of /dev/shm: there names that do not exist are not remembered, and nothing is ever
fetched. All campaigns of one user that run at a time share it, and it goes with the last of them.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from evo.evaluation.sandbox.image_files import Files, files_of_a_role, packages

MEMORY = Path("/dev/shm")
PREFIX = "evotrain-image-"
HELD, READY = ".held", ".ready"
SMALL = 1 << 18
LEFT = 2  # times its size must be free beside it: runs need memory, too


@dataclass(frozen=True)
class Image:
    """A whole file tree of links and read-only files; `why_not` says why there is none, else it is empty."""

    root: Path
    why_not: str = ""

    def __bool__(self) -> bool:
        return not self.why_not

    def has(self, path: str) -> bool:
        """Whether anything of the host's `path` is in it."""
        return os.path.lexists(self.at(path))

    def at(self, path: str) -> Path:
        """Where a path of the host lies in it."""
        return self.root / path.lstrip("/")


@functools.cache
def open_image() -> Image:
    """The image of this Python, held until our process ends. Says why there is none instead of raising."""
    try:
        with _one_at_a_time():
            _remove_left_over()
            return _found(key := _key()) or _made(key)
    except OSError as error:
        return Image(MEMORY, f"{error.strerror or error}: {error.filename or MEMORY}")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    with open(MEMORY / f"{PREFIX}{os.getuid()}.lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ours() -> list[Path]:
    folders = [
        path for path in MEMORY.glob(f"{PREFIX}*") if path.is_dir() and not path.is_symlink()
    ]
    return [path for path in folders if path.stat().st_uid == os.getuid()]


def _remove_left_over() -> None:
    """Whatever nobody holds: its last holder was killed."""
    for folder in _ours():
        _remove_if_free(folder)


def _remove_if_free(folder: Path) -> None:
    # An error says that somebody holds it, or that it is gone.
    with contextlib.suppress(OSError), open(folder / HELD, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _key() -> str:
    """Stands for all that an image is made from."""
    versions = [f"{name} {metadata.version(name)}" for name in packages()]
    words = [sys.executable, sys.prefix, sys.base_prefix, sys.version, *versions]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def _found(key: str) -> Image | None:
    for folder in _ours():
        if folder.name.startswith(f"{PREFIX}{key}-") and (folder / READY).exists():
            _hold(folder)
            return Image(folder)
    return None


def _hold(folder: Path) -> None:
    """Ours, too, until our process ends in whatever way."""
    file = open(folder / HELD, "ab")  # noqa: SIM115 (held open)
    fcntl.flock(file, fcntl.LOCK_SH)
    owner = os.getpid()

    def release() -> None:
        if os.getpid() == owner:  # not in a forked child
            file.close()
            with contextlib.suppress(OSError), _one_at_a_time():
                _remove_if_free(folder)

    atexit.register(release)


def _made(key: str) -> Image:
    files = files_of_a_role()
    size = sum(-(-found.st_size // 4096) * 4096 for found in files.plain.values())
    there = os.statvfs(MEMORY)
    room = min(there.f_bavail * there.f_frsize, psutil.virtual_memory().available // LEFT)
    if size > room:
        return Image(
            MEMORY, f"no room for {size >> 20} MB in {MEMORY}, {room >> 20} MB may be used"
        )
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{key}-", dir=MEMORY))
    _hold(folder)
    _copy(files, folder)
    folder.chmod(0o755)
    (folder / READY).touch()
    return Image(folder)


def _copy(files: Files, root: Path) -> None:
    folders = {os.path.dirname(path) for path in (*files.links, *files.plain)}
    for folder in sorted(folders):
        os.makedirs(f"{root}{folder}", exist_ok=True)
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o755)
    for path, target in files.links.items():
        os.symlink(target, f"{root}{path}")
    for path, found in files.plain.items():
        place = f"{root}{path}"
        shutil.copyfile(path, place) if found.st_size > SMALL else _copy_small(path, place)
        os.chmod(place, 0o755 if found.st_mode & 0o111 else 0o644)
        os.utime(place, ns=(found.st_mtime_ns, found.st_mtime_ns))  # bytecode is known by it


def _copy_small(path: str, place: str) -> None:
    """As shutil does it, at a third of the time: there are twenty thousand."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(source, SMALL + 1)
    finally:
        os.close(source)
    target = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(target, data)
    finally:
        os.close(target)
