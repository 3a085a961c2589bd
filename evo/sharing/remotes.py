"""Where bundles lie: a folder, a git repository, or a path that rsync reaches. Files are only ever added.

Nothing of a remote is checked out or run, no name in it is used as a path unless it is that of a bundle or of a
signature, and a link is not followed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from random import random
from typing import Protocol

from evo.files import take_bytes, write_file
from evo.sharing import signing
from evo.sharing.bundles import MAX_PACKED_BYTES
from evo.sharing.bundles import NAME as BUNDLE
from evo.sharing.merging import SharingError

MAX_FILES = 20_000
MAX_TRIES = 30  # of a push to git while others push, too
PROGRAM_SECONDS = 1800  # that git or rsync may take
MAX_ERROR_CHARS = 300


class Remote(Protocol):
    """A place that holds bundles and their signatures, by name."""

    def names(self) -> dict[str, int]:
        """The files that are there, with their bytes."""
        ...

    def read(self, name: str) -> bytes:
        """What one of them holds. SharingError for one that cannot be read."""
        ...

    def add(self, files: Mapping[str, bytes]) -> None:
        """Add files; what is there stays as it is. SharingError where that cannot be done."""
        ...


def is_ours(name: str) -> bool:
    """Whether a file is called as a bundle or a signature is."""
    return bool(BUNDLE.fullmatch(name) or signing.NAME.fullmatch(name))


@contextmanager
def opened_remote(where: str, must_exist: bool) -> Iterator[Remote]:
    """The remote at a path or an address. SharingError says what is wrong with it.

    git: a repository's folder, an address with a scheme, or one that ends in .git; rsync: `rsync://...` or
    `HOST:PATH`; else a folder, made by a push where there is none.
    """
    if where.startswith("-") or not where.strip():
        raise SharingError(f"{where!r} is no remote: give a folder, a git repository or HOST:PATH")
    local = Path(where).expanduser()
    if _is_repository(local):
        kind: type[_Copied] | None = _Git
        where = str(local.resolve())
    elif where.startswith("rsync://"):
        kind = _Rsync
    elif re.match(r"[a-z+]+://", where) or (not local.exists() and where.endswith(".git")):
        kind = _Git
    elif not local.exists() and re.match(r"[^/]+:", where):
        kind = _Rsync
    else:
        kind = None
    if kind is None:
        yield _Folder(local, must_exist)
        return
    with tempfile.TemporaryDirectory(prefix="evo-remote-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        yield _Git(where, work) if kind is _Git else _Rsync(where, work, must_exist)


def _is_repository(path: Path) -> bool:
    """A bare repository, or a working tree's top."""
    bare = all((path / one).exists() for one in ("HEAD", "objects", "refs"))
    return bare or (path / ".git").exists()


class _Folder:
    def __init__(self, path: Path, must_exist: bool) -> None:
        self._path = path
        if path.exists() and not path.is_dir():
            raise SharingError(f"{path} is a file; give a folder, a git repository or HOST:PATH")
        if must_exist and not path.exists():
            raise SharingError(f"{path}: there is no such folder")

    def names(self) -> dict[str, int]:
        found: dict[str, int] = {}
        if not self._path.exists():
            return found
        with os.scandir(self._path) as entries:
            for one in entries:
                if is_ours(one.name) and one.is_file(follow_symlinks=False):
                    found[one.name] = one.stat(follow_symlinks=False).st_size
        return _few(found, str(self._path))

    def read(self, name: str) -> bytes:
        try:
            return take_bytes(self._path / name, MAX_PACKED_BYTES)
        except ValueError as error:
            raise SharingError(f"{self._path / name}: {error}") from None

    def add(self, files: Mapping[str, bytes]) -> None:
        for name, held in files.items():
            with suppress(FileExistsError):
                write_file(self._path / name, held, replace=False)


def _few(found: dict[str, int], where: str) -> dict[str, int]:
    if len(found) > MAX_FILES:
        raise SharingError(f"{where} holds more than {MAX_FILES:,} bundles and signatures")
    return found


class _Copied:
    """A remote that a program brings here first."""

    program = ""

    def __init__(self, where: str, work: Path) -> None:
        if shutil.which(self.program) is None:
            raise SharingError(
                f"{where} is reached with {self.program}, which is not installed here; install it, "
                "or give a folder"
            )
        self._where, self._work = where, work

    def _run(self, *words: str, given: bytes | None = None, cwd: Path | None = None) -> bytes:
        done = self._try(*words, given=given, cwd=cwd)
        if done.returncode:
            raise SharingError(f"{self._where}: {self.program}: {_last_words(done.stderr)}")
        return done.stdout

    def _try(
        self, *words: str, given: bytes | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [self.program, *words],
                cwd=cwd or self._work,
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                timeout=PROGRAM_SECONDS,
                env=_environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise SharingError(
                f"{self._where}: {self.program} took more than {PROGRAM_SECONDS} seconds"
            ) from error


def _environment() -> dict[str, str]:
    """Nobody is asked for a password, and no transport is used that runs a command of the address."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    ours = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
    who = {f"GIT_{one}_NAME": "evotrain" for one in ("AUTHOR", "COMMITTER")}
    who |= {f"GIT_{one}_EMAIL": "evotrain@localhost" for one in ("AUTHOR", "COMMITTER")}
    ssh = {key: value for key, value in os.environ.items() if key.startswith("GIT_SSH")}
    return {**kept, **ours, **who, **ssh, "LC_ALL": "C"}


def _last_words(said: bytes) -> str:
    lines = [one for one in said.decode("utf-8", "replace").splitlines() if one.strip()]
    told = [one for one in lines if one.startswith(("fatal:", "error:", "rsync"))] or lines[-1:]
    return " ".join(told)[:MAX_ERROR_CHARS] or "failed without a word"


class _Git(_Copied):
    """A bare copy of the newest commit; objects are written and pushed without any checkout."""

    program = "git"

    def __init__(self, where: str, work: Path) -> None:
        super().__init__(where, work)
        self._tree: dict[str, tuple[str, int]] = {}
        self._run("init", "-q", "--bare", ".")
        self._head = self._branch()
        self._tip = self._fetch()

    def _branch(self) -> str:
        told = self._run("ls-remote", "--symref", "--", self._where, "HEAD").decode()
        found = re.match(r"ref: (refs/heads/\S+)\tHEAD", told)
        if found is not None:
            return found[1]
        heads = self._run("ls-remote", "--heads", "--", self._where).decode().split()
        if heads or not Path(self._where).is_dir():
            return heads[1] if heads else "refs/heads/main"
        return self._run("symbolic-ref", "HEAD", cwd=Path(self._where)).decode().strip()

    def _fetch(self) -> str:
        """The newest commit, "" in an empty repository, and what lies in its top folder."""
        there = self._run("ls-remote", "--", self._where, self._head).decode().split()
        self._tree = {}
        if not there:
            return ""
        self._run("fetch", "-q", "--no-tags", "--depth", "1", "--", self._where, self._head)
        tip = self._run("rev-parse", "FETCH_HEAD").decode().strip()
        for line in self._run("ls-tree", "-z", "-l", tip).split(b"\0"):
            told, _, name = line.decode("utf-8", "replace").partition("\t")
            words = told.split()
            if len(words) == 4 and words[0].startswith("100") and is_ours(name):
                self._tree[name] = words[2], int(words[3])
        return tip

    def names(self) -> dict[str, int]:
        return _few({name: size for name, (_, size) in self._tree.items()}, self._where)

    def read(self, name: str) -> bytes:
        return self._run("cat-file", "blob", self._tree[name][0])

    def add(self, files: Mapping[str, bytes]) -> None:
        for attempt in range(MAX_TRIES):
            new = {name: held for name, held in files.items() if name not in self._tree}
            if not new:
                return
            commit = self._commit(new)
            done = self._try("push", "-q", "--", self._where, f"{commit}:{self._head}")
            if not done.returncode:
                self._tip = self._fetch()
                continue  # once more around: all of them are there now
            if not _was_late(done.stderr):
                raise SharingError(f"{self._where}: git: {_last_words(done.stderr)}")
            time.sleep(min(0.05 * 2**attempt, 2.0) * random())
            self._tip = self._fetch()
        raise SharingError(f"{self._where}: others pushed {MAX_TRIES} times in between; push again")

    def _commit(self, new: Mapping[str, bytes]) -> str:
        self._run("read-tree", *([self._tip] if self._tip else ["--empty"]))
        lines = []
        for name, held in sorted(new.items()):
            blob = self._run("hash-object", "-w", "--stdin", given=held).decode().strip()
            lines.append(f"100644 {blob}\t{name}\n")
        self._run("update-index", "--add", "--index-info", given="".join(lines).encode())
        tree = self._run("write-tree").decode().strip()
        parents = ["-p", self._tip] if self._tip else []
        words = ["commit-tree", tree, *parents, "-m", f"Add {len(new)} files of rows"]
        return self._run(*words).decode().strip()


def _was_late(said: bytes) -> bool:
    """Whether a push was refused because another one came first."""
    words = (
        b"fetch first",
        b"non-fast-forward",
        b"cannot lock ref",
        b"failed to update ref",
        b"incorrect old value",
        b"stale info",
    )
    return any(one in said for one in words)


class _Rsync(_Copied):
    """A copy of the files; rsync adds what is new."""

    program = "rsync"

    def __init__(self, where: str, work: Path, must_exist: bool) -> None:
        super().__init__(where, work)
        self._here = work / "there"
        self._here.mkdir()
        only = ("--include=*.jsonl.gz", "--include=*.sig", "--exclude=*")
        most = f"--max-size={MAX_PACKED_BYTES}"
        done = self._try("-dt", most, *only, "--", f"{where.rstrip('/')}/", f"{self._here}/")
        is_missing = bool(re.search(rb"(change_dir|link_stat) .*No such file", done.stderr))
        if done.returncode and must_exist and is_missing:
            raise SharingError(f"{where}: there is no such folder")
        if done.returncode and not is_missing:
            raise SharingError(f"{where}: rsync: {_last_words(done.stderr)}")
        self._folder = _Folder(self._here, True)

    def names(self) -> dict[str, int]:
        return self._folder.names()

    def read(self, name: str) -> bytes:
        return self._folder.read(name)

    def add(self, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        out = self._work / "new"
        _Folder(out, False).add(files)
        self._run("-rt", "--ignore-existing", "--", f"{out}/", f"{self._where.rstrip('/')}/")
        self._folder.add(files)
