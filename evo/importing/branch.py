"""A lineage as a branch of a git repository: objects and one ref are written, no file, no index, no hook."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60.0  # for one question to git
_SAFE = ("--no-pager", "--literal-pathspecs", "-c", "core.hooksPath=/dev/null")


class BranchFailure(Exception):
    """The branch cannot be written; the message says why and what to do. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class CommitToMake:
    """One commit to make: its message, and the whole files as they are then, by path in the repository."""

    message: str
    files: Mapping[str, bytes]


def write_branch(repository: Path, name: str, steps: Sequence[CommitToMake], force: bool) -> int:
    """A branch on top of HEAD (or of nothing) with a commit a step; how many were made.

    A step that leaves the files as they were makes no commit, so a branch on the seed itself begins with the
    first edit. `force`: a branch of that name may be moved, but never the one that is checked out.
    """
    with tempfile.TemporaryDirectory() as scratch:
        git = _Git(repository, Path(scratch) / "index")
        git.ask(f"{repository}: no git repository there", "rev-parse", "--git-dir")
        git.ask(f"{name!r} cannot be the name of a branch", "check-ref-format", "--branch", name)
        git.ask(
            "git does not know who you are: set user.name and user.email",
            "var",
            "GIT_COMMITTER_IDENT",
        )
        if not force and git.says("rev-parse", "--verify", "--quiet", f"refs/heads/{name}"):
            raise BranchFailure(f"there is a branch {name}; --force moves it, or give another name")
        parent = git.says("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if parent:
            git.ask("HEAD cannot be read", "read-tree", parent)
        tree, made = git.ask("no tree can be written", "write-tree"), 0
        for step in steps:
            for file, content in step.files.items():
                blob = git.ask(
                    "no object can be written", "hash-object", "-w", "--stdin", given=content
                )
                entry = f"100644,{blob},{file}"
                problem = f"{file} cannot be a file's path inside the repository"
                git.ask(problem, "update-index", "--add", "--cacheinfo", entry)
            before, tree = tree, git.ask("no tree can be written", "write-tree")
            if tree == before:
                continue
            words = ("commit-tree", tree, *(("-p", parent) if parent else ()), "-F", "-")
            parent = git.ask("no commit can be written", *words, given=step.message.encode())
            made += 1
        if not parent:
            raise BranchFailure("there is nothing to commit")
        options = ("--force",) if force else ()
        git.ask(f"the branch {name} cannot be set", "branch", "--no-track", *options, name, parent)
        return made


class _Git:
    """Git in one repository with an index of its own, so that nobody's is touched."""

    def __init__(self, repository: Path, index: Path) -> None:
        self._path = repository
        self._environment = {**os.environ, "GIT_INDEX_FILE": str(index), "LC_ALL": "C"}

    def says(self, *words: str) -> str:
        """The answer, "" where git refuses."""
        done = self._run(words, b"")
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""

    def ask(self, objection: str, *words: str, given: bytes = b"") -> str:
        """The answer; BranchFailure with the objection and git's own words where it refuses."""
        done = self._run(words, given)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()[:1]
            raise BranchFailure(": ".join([objection, *said]))
        return done.stdout.decode(errors="replace").strip()

    def _run(self, words: Sequence[str], given: bytes) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                ["git", *_SAFE, *words],
                cwd=self._path,
                env=self._environment,
                input=given,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BranchFailure(f"git cannot be asked: {error}") from error
