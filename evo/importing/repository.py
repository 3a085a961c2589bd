"""A git repository, read and nothing else: no hook, filter, pager or remote of it is ever run or asked."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.importing.results import ImportFailure

RESULTS, TRAIN = "results.tsv", "train.py"
SECONDS = 60.0  # for one question to git
_TABLE = re.compile(r"(^|/)(results?|experiments?|attempts|runs|scores|history)[\w-]*\.(tsv|csv)\Z")
_SAFE = ("--no-pager", "--no-replace-objects", "-c", "core.hooksPath=/dev/null")


@dataclass(frozen=True, slots=True)
class Commit:
    """What the clone holds of a commit: its full hash, seconds since the epoch, its train.py."""

    hash: str
    committed_at: float
    train: str | None  # None: no such file in it, or not UTF-8


class Repository:
    """The git repository in a folder. ImportFailure when there is none, or no such branch."""

    def __init__(self, path: Path, branch: str | None = None) -> None:
        self.path = path.resolve()
        self._named = branch is not None
        if not path.is_dir():
            if path.is_file():
                raise ImportFailure(
                    f"{path} is a file: name the folder of the repository it belongs to"
                )
            raise ImportFailure(f"{path}: no such folder")
        self._ask("no git repository there", "rev-parse", "--git-dir")
        wanted = branch or "HEAD"
        # a branch is handed over behind --verify and --end-of-options: it cannot be an option
        told = f"no branch or commit {wanted!r} there" if branch else "it has no commit yet"
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options")
        done = self._run(*words, f"refs/remotes/origin/{wanted}^{{commit}}")
        here = self._run(*words, f"{wanted}^{{commit}}")
        if (
            here.returncode and not done.returncode
        ):  # a clone has its remote's branches under origin/
            wanted = f"refs/remotes/origin/{wanted}"
        self.head = self._ask(told, *words, f"{wanted}^{{commit}}").split()[-1]

    def results(self) -> tuple[str, str] | None:
        """The text of the table of attempts and where it stands, from the root; None where there is none.

        results.tsv first, of the folder, or with a branch named that branch's where it has one; then a table
        under another name or in another folder; then one that is in git no more.
        """
        named = self._committed(f"{self.head}:{RESULTS}")
        inside = [RESULTS, *sorted(self._tables(), key=lambda one: (one.count("/"), _rank(one)))]
        for place in inside:
            file = self.path / place
            if place == RESULTS and self._named and named is not None:
                return _decoded(named), place
            if file.is_file() and not file.is_symlink():
                return _decoded(file.read_bytes()), place
            committed = self._committed(f"{self.head}:{place}")
            if committed is not None:
                return _decoded(committed), place
        return self._deleted()

    def _tables(self) -> list[str]:
        """Files of this commit whose names are those of a table of attempts."""
        done = self._run("ls-tree", "-r", "-z", "--name-only", self.head)
        return [one for one in _decoded(done.stdout).split("\0") if _TABLE.search(one)]

    def _deleted(self) -> tuple[str, str] | None:
        """The table that a commit before this one took away."""
        words = ("rev-list", "-1", "--full-history")  # also where a merge took it away again
        done = self._run(*words, self.head, "--", f":(glob)**/{RESULTS}")
        last = _decoded(done.stdout).strip()
        if done.returncode or not last:
            return None
        gone = self._run("diff-tree", "-r", "-z", "--no-commit-id", "--name-only", last)
        for place in _decoded(gone.stdout).split("\0"):
            text = self._committed(f"{last}~1:{place}") if _TABLE.search(place) else None
            if text is not None:
                return _decoded(text), place
        return None

    def elsewhere(self) -> list[str]:
        """Branches whose histories hold a results.tsv, where the one that is looked at holds none."""
        words = ("rev-list", "-1", "--all", "--full-history")
        done = self._run(*words, "--", f":(glob)**/{RESULTS}")
        last = _decoded(done.stdout).strip()
        if done.returncode or not last:
            return []
        named = self._run("for-each-ref", "--contains", last, "--format=%(refname:short)")
        return _decoded(named.stdout).split()

    def subjects(self) -> list[tuple[str, str]]:
        """The short hash and subject of each commit on the first parents' line, oldest first."""
        words = ("rev-list", "--first-parent", "--reverse", "--no-commit-header", "--format=%h %s")
        done = self._run(*words, self.head)
        lines = _decoded(done.stdout).splitlines() if done.returncode == 0 else []
        return [(hash, subject) for hash, _, subject in (line.partition(" ") for line in lines)]

    def commits(self, names: Sequence[str], train: str = TRAIN) -> Iterator[Commit | None]:
        """Each commit as the clone holds it with its file `train`, None where it does not.

        One process for all of them.
        """
        objects = _Objects(self._command("cat-file", "--batch"), _environment(self.path))
        try:
            for name in names:
                yield _commit(objects, name, train) if name else None
        finally:
            objects.close()

    def _committed(self, name: str) -> bytes | None:
        done = self._run("cat-file", "blob", name)
        return done.stdout if done.returncode == 0 else None

    def _ask(self, objection: str, *words: str) -> str:
        done = self._run(*words)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()[:1]
            raise ImportFailure(": ".join([f"{self.path}: {objection}", *said]))
        return done.stdout.decode(errors="replace")

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                self._command(*words),
                capture_output=True,
                timeout=SECONDS,
                env=_environment(self.path),
            )
        except FileNotFoundError as error:
            raise ImportFailure(
                "git is not installed; an import reads the history with it"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ImportFailure(f"{self.path}: git gave no answer in {SECONDS:.0f} s") from error

    def _command(self, *words: str) -> list[str]:
        return ["git", *_SAFE, "-C", str(self.path), *words]


def _environment(path: Path) -> dict[str, str]:
    """No repository but this one, and no transport: a partial clone would run what its config names."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_CEILING_DIRECTORIES": str(path.parent),
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


class _Objects:
    """Git's answers to one name after another. Git ends at an object that it may not fetch: begun again."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process = self._begin()

    def read(self, name: str) -> tuple[str, bytes] | None:
        """The hash and content of a commit or file; None for what is missing, ambiguous or else."""
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None and answers is not None
        try:
            asked.write(f"{name}\n".encode())
            asked.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            self.close()
            self._process = self._begin()
            return None
        full, kind, size = [*answer.split(), b"", b"", b""][:3]
        if not size.isdigit():  # "NAME missing"
            return None
        content = answers.read(int(size))
        answers.readline()  # the line break behind the content
        return (full.decode(), content) if kind in (b"commit", b"blob") else None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _begin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )


def _commit(objects: _Objects, name: str, train_file: str) -> Commit | None:
    found = objects.read(f"{name}^{{commit}}")
    if found is None:
        return None
    full, text = found
    train = objects.read(f"{full}:{train_file}")
    return Commit(full, _committed_at(text), None if train is None else _text(train[1]))


def _committed_at(commit: bytes) -> float:
    for line in commit.partition(b"\n\n")[0].splitlines():
        if line.startswith(b"committer "):
            time = line.rsplit(b" ", 2)[-2]
            return float(time) if time.isdigit() else 0.0
    return 0.0


def _rank(place: str) -> tuple[bool, str]:
    return place.rpartition("/")[2] != RESULTS, place


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


def _text(content: bytes) -> str | None:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None
