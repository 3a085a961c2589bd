"""The user's folder as a campaign runs on it: copied once when it begins, and for every run anew."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from evo.evaluation.tree import remove_folder
from evo.files import STORE
from evo.tasks.settings import TaskError, TaskSettings
from population.file_set import ADDED, join_files, may_be_added, paths_of

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

    def copy(self, to: Path, without: Collection[str] = ()) -> None:
        """A folder that a run may write in; what is done there changes nothing here.

        `without`: folders in it that are left out.
        """
        left_out = {os.path.join(self.path, one) for one in without}

        def hidden(folder: str, names: list[str]) -> list[str]:
            return [one for one in names if os.path.join(folder, one) in left_out]

        shutil.copytree(self.path, to, symlinks=True, ignore=hidden)


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


def paths_in(folder: Path, files: Any) -> Any:
    """The files by path, `*` in a path replaced by what is there."""
    if isinstance(files, Mapping):
        return {path: below for one, below in files.items() for path in paths_in(folder, [one])}
    if not isinstance(files, list | tuple) or not all(isinstance(one, str) for one in files):
        return files
    paths = list[str]()
    for one in files:
        inside = "*" in one and not one.startswith(ADDED) and not Path(one).is_absolute()
        there = sorted(folder.glob(one)) if inside else []
        paths += [path.relative_to(folder).as_posix() for path in there if path.is_file()] or [one]
    return list(dict.fromkeys(paths))


def read_files(folder: Path, files: Sequence[str], alone: bool) -> str:
    """The files of a folder as one source; `alone`: one that is its own text. TaskError."""
    texts = {name: _text_of(folder / name) for name in files}
    if alone:
        return texts[files[0]]
    try:
        return join_files(texts)
    except ValueError as error:
        raise TaskError(f"task.files: {error}; leave that line out") from None


def source_at(path: Path, task: TaskSettings) -> str:
    """The source that a person names: a folder with the files, one of them in its folder, or all as one text.

    TaskError where the others are not there.
    """
    if path.is_dir():
        return read_files(path, [*task.paths, *added_in(path, task)], task.alone)
    text = _text_of(path)
    if task.alone or paths_of(text):
        return text
    real = path.resolve()
    for name in task.paths:
        parts = PurePosixPath(name).parts
        if real.parts[-len(parts) :] == parts:
            return source_at(real.parents[len(parts) - 1], task)
    raise TaskError(f"{path}: what evolves here is {task.file}; give the folder that holds them")


def added_in(folder: Path, task: TaskSettings) -> list[str]:
    """The files of a folder that a variant may add, and that the folder of the task has not."""
    found = dict[str, None]()
    for pattern in task.may_add:
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            fixed = name in task.paths or (task.folder / name).exists()
            if path.is_file() and not fixed and may_be_added(name, task.may_add):
                found[name] = None
    return list(found)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TaskError(f"task.files: there is no file {path}") from None
    except UnicodeDecodeError as error:
        raise TaskError(f"task.files: {path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise TaskError(f"task.files: {path}: {error.strerror or error}") from None


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
