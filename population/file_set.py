"""A variant of several files as one text: above the lines of each file stands a line that names it.

What reads, compares, merges or keeps a source works on this text as on a train.py. One Python file alone is
its own text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

MAX_FILES = 20  # of one variant
MAX_PATH = 200  # characters of a path that a variant brings
ADDED = "+"  # before a pattern: files that a variant may add, beside those that the seed has
_HEAD = re.compile(r"# ==== file: (\S(?:.*\S)?) ====")
_PLAIN = re.compile(
    r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII
)  # no .., no hidden file, no other root


def head_of(path: str) -> str:
    """The line that names a file."""
    return f"# ==== file: {path} ===="


def path_in(line: str) -> str | None:
    """The path that a line names, where it is the line above a file."""
    found = _HEAD.fullmatch(line.rstrip())
    return found[1] if found else None


def join_files(files: Mapping[str, str]) -> str:
    """The files as one text, by path, their lines ended by LF. ValueError where one holds a line like ours."""
    parts = list[str]()
    for path in sorted(files):
        text = files[path].replace("\r\n", "\n").replace("\r", "\n")
        for number, line in enumerate(text.split("\n"), 1):
            if path_in(line) is not None:
                raise ValueError(f"line {number} of {path} reads as one of ours that names a file")
        ended = text if text.endswith("\n") or not text else f"{text}\n"
        parts.append(f"{head_of(path)}\n{ended}")
    return "".join(parts)


def split_files(source: str) -> dict[str, str]:
    """The files by path, in their order; {} for a source that is one file alone."""
    if path_in(source.partition("\n")[0]) is None:
        return {}
    found, lines = dict[str, list[str]](), list[str]()
    for line in re.split(r"(?<=\n)", source):
        path = path_in(line)
        if path is not None:
            found[path] = lines = []
        else:
            lines.append(line)
    return {path: "".join(part) for path, part in found.items()}


def is_sound(source: str) -> bool:
    """Whether a text is one file alone, or as `join_files` writes it: each file once, in order."""
    files = split_files(source)
    try:
        return not files or join_files(files) == source
    except ValueError:
        return False


def paths_of(source: str) -> tuple[str, ...]:
    """The paths of its files; () for a source that is one file alone."""
    return tuple(split_files(source))


def changed_files(old: str, new: str, alone: str = "train.py") -> Iterator[tuple[str, str, str]]:
    """What two sources have in each file that differs: path, old and new text.

    `alone`: the path of a source that is one file.
    """
    if old == new:
        return
    before, after = (split_files(one) or {alone: one} for one in (old, new))
    for path in dict.fromkeys([*before, *after]):
        if before.get(path) != after.get(path):
            yield path, before.get(path, ""), after.get(path, "")


def may_be_added(path: str, patterns: Sequence[str]) -> bool:
    """Whether a variant may add a file of this path to the seed's: it fits a pattern, `*` any name."""
    if not _PLAIN.fullmatch(path) or len(path) > MAX_PATH:
        return False
    parts = path.split("/")
    return any(
        len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))
        for wanted in (one.split("/") for one in patterns)
    )


def added_objection(source: str, seed: str, patterns: Sequence[str]) -> str | None:
    """Which file a source lacks, or has although no pattern allows it, in words; None for neither."""
    there, begun = paths_of(source), paths_of(seed)
    if lost := [one for one in begun if one not in there]:
        return f"{lost[0]} is gone: the lines that name the files stay as they are"
    if strange := [one for one in there if one not in begun and not may_be_added(one, patterns)]:
        more = f", nor a new one as {', '.join(patterns)}" if patterns else ""
        return f"{strange[0]} is none of the files: {', '.join(begun)}{more}"
    if inside := [one for one in there if any(f"{one}/" == two[: len(one) + 1] for two in there)]:
        return f"{inside[0]} cannot be both a file and a folder"
    return f"it has more than {MAX_FILES} files" if len(there) > MAX_FILES else None


def is_python(path: str) -> bool:
    """Whether a file is read as Python."""
    return path.endswith(".py")


def python_of(source: str) -> tuple[str, list[tuple[int, str, str]]]:
    """The text with all that is no Python left blank, line by line, and the files in it.

    Each file as the number of its line above it (from 1), its path, and its text where it is no Python.
    """
    files = split_files(source)
    if not files:
        return source, []
    blank, heads, python = list[str](), list[tuple[int, str, str]](), False
    for number, line in enumerate(source.split("\n"), 1):
        path = path_in(line)
        if path is not None:
            python = is_python(path)
            heads.append((number, path, "" if python else files[path]))
        blank.append(line if python and path is None else "")
    return "\n".join(blank), heads


def place_of(source: str, line: int) -> tuple[str, int]:
    """The file that a line of the text (from 1) stands in and its number there; "" of one file alone."""
    path, start = "", 0
    for number, name, _ in python_of(source)[1]:
        if number < line:
            path, start = name, number
    return path, line - start
