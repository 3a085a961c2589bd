"""The user's folder as a campaign runs on it: copied once when it begins, and for every run anew."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from evo.evaluation.tree import remove_folder
from evo.files import STORE
from evo.tasks.settings import TaskError

MAX_FOLDER_MB = 512
MAX_FILES = 10_000
# What a run of the user's own leaves there, what holds an environment, and what is ours.
LEFT_OUT = frozenset(
    (
        *(".git", ".hg", ".svn", ".venv", "venv", ".tox", "node_modules", "__pycache__"),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", "wandb", "mlruns"),
        *("campaigns", "calibrations"),
    )
)


@dataclass(frozen=True, slots=True)
class FolderCopy:
    """A copy of a folder. `id` stands for every byte of it but those of the files that evolve."""

    path: Path
    id: str
    bytes: int

    def copy(self, to: Path) -> None:
        """A folder that a run may write in; what is done there changes nothing here."""
        shutil.copytree(self.path, to, symlinks=True)


def look_at(folder: Path, files: Collection[str]) -> None:
    """TaskError when the folder cannot be what runs see: it is missing, lacks a file, or is too large."""
    if not folder.is_dir():
        raise TaskError(f"task.folder: there is no folder {folder}")
    for name in files:
        if not (folder / name).is_file():
            raise TaskError(f"task.files: there is no file {folder / name}")
        # a copy of the folder keeps links: what is written to such a file would land where they lead
        if os.path.realpath(folder / name) != os.path.normpath(
            os.path.join(os.path.realpath(folder), name)
        ):
            raise TaskError(
                f"task.files: {folder / name} is a link or lies behind one; name the file that it leads to"
            )
    _count(folder)


def _count(folder: Path) -> int:
    """The bytes to copy."""
    total = 0
    for number, path in enumerate(_files(folder), 1):
        total += path.lstat().st_size
        if total > MAX_FOLDER_MB << 20 or number > MAX_FILES:
            much = f"{MAX_FOLDER_MB} MB" if number <= MAX_FILES else f"{MAX_FILES:,} files"
            raise TaskError(
                f"task.folder: {folder} holds more than {much}, and every run gets a copy: move what it only "
                "reads out of there and name it in task.read_only"
            )
    return total


def take_snapshot(folder: Path, files: Collection[str], to: Path) -> FolderCopy:
    """Copy the folder, what is there replaced. Raises TaskError as `look_at`."""
    look_at(folder, files)
    remove_folder(to)
    to.mkdir(parents=True)
    digest = hashlib.sha256()
    for path in _files(folder):
        name = path.relative_to(folder)
        place = to / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            place.symlink_to(os.readlink(path))
            content = os.readlink(path).encode(errors="surrogateescape")
        else:
            shutil.copy(path, place)
            content = hashlib.sha256(place.read_bytes()).digest()
        if str(name) not in files:
            digest.update(os.fsencode(str(name)) + b"\0" + content + b"\0")
    return FolderCopy(to, digest.hexdigest(), _count(to))


def _files(folder: Path) -> Iterator[Path]:
    """Files and links below a folder in a fixed order, without what is left out."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            if entry.name not in LEFT_OUT and not (entry / STORE).exists():
                yield from _files(entry)
        elif entry.is_symlink() or entry.is_file():
            yield entry
