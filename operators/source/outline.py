"""What of a large source is shown to a model: whole files within a limit, or a part; of the rest an outline."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from operators.source.parse import SourceError, parse, split_lines
from population.file_set import head_of, is_python, join_files, split_files

MAX_SOURCE_CHARS = 80_000  # of what a prompt shows of a source
MAX_OUTLINE_CHARS = 12_000  # of all outlines together
MAX_LINE_CHARS = 160  # of a signature
ALONE = "train.py"  # what a source that is one file is called where it is told of
OUTLINED = "The other files, in outline; leave them as they are, for no line of them is shown:"
PARTLY = (
    "Of {} lines {:,} to {:,} of {:,} stand above, and of all else an outline follows; leave as it is what is "
    "not shown. Give edits, no whole file:"
)


class ShownLines(NamedTuple):
    """The lines of a file that are shown, from 1; `path` is "" of a source that is one file."""

    path: str
    first: int
    last: int
    lines: int  # of the whole file


class Excerpt(NamedTuple):
    """What is shown, the outline of all else, and the part of a file where not all of it is."""

    whole: str
    outline: str
    part: ShownLines | None = None

    def said(self, name: str) -> str:
        """What stands above the outline; `name`: of a source that is one file."""
        if self.part is None:
            return OUTLINED
        path, *lines = self.part
        return PARTLY.format(path or name, *lines)


def shown_within(source: str, limit: int, turn: int = 0) -> Excerpt:
    """The files that are shown whole, and the outline of all others.

    A source within the limit is shown as it is. `turn`: which file comes first, so that each has its turn;
    those that follow it are taken as long as they fit. Of a file that is larger than the limit, a part is shown
    in its turn, another one each time. `limit`: characters of what is shown. Nothing where a line is too long.
    """
    if len(source) <= limit:
        return Excerpt(source, "")
    files = split_files(source) or {"": source}
    paths, whole, left, part = list(files), dict[str, str](), limit, None
    for at in range(len(paths)):
        path = paths[(turn + at) % len(paths)]
        size = (len(head_of(path)) + 2 if path else 0) + len(files[path])
        if size <= left:
            whole[path] = files[path]
            left -= size
        elif not at and size > limit:
            room = limit - (size - len(files[path]))
            part = _part_of(path, files[path], room, turn // len(paths))
            if part is not None:
                lines = split_lines(files[path])[part.first - 1 : part.last]
                whole[path] = "".join(lines)
                break
    if not whole:
        return Excerpt("", "")
    outlined = {one: text for one, text in files.items() if one not in whole}
    if part is not None:
        outlined[part.path] = files[part.path]
    outline = "".join(_outlines({one: outlined[one] for one in files if one in outlined}, part))
    return Excerpt(join_files(whole) if paths != [""] else whole[""], outline, part)


def _outlines(files: dict[str, str], part: ShownLines | None) -> Iterator[str]:
    room = MAX_OUTLINE_CHARS
    for path, text in files.items():
        lines = len(text.splitlines())
        told = f"{path or ALONE}: {lines:,} lines, {len(text):,} characters\n"
        inside = part if part is not None and part.path == path else None
        for line in signatures(text, inside) if not path or is_python(path) else ():
            told += f"  {line}\n"
        yield told[: max(room, 0)]
        room -= len(told)
    if room < 0:
        yield "(the rest is left out)\n"


def _part_of(path: str, text: str, limit: int, turn: int) -> ShownLines | None:
    """The part of a file whose turn it is; None where every line is longer than the limit."""
    parts = list(_parts(text, limit, not path or is_python(path)))
    if not parts:
        return None
    first, last = parts[turn % len(parts)]
    return ShownLines(path, first + 1, last, len(split_lines(text)))


def _parts(text: str, limit: int, python: bool) -> Iterator[tuple[int, int]]:
    """A text cut into runs of whole lines within the limit; in Python between statements, where there are any.

    Each as the lines before it and those to its end. A line that is longer than the limit is in none.
    """
    lines = split_lines(text)
    ends = _ends(text) if python else {}
    begin = 0
    while begin < len(lines):
        size, last = 0, begin
        while last < len(lines) and size + len(lines[last]) <= limit:
            size += len(lines[last])
            last += 1
        if last == begin:  # the line alone is too long
            begin += 1
            continue
        if last < len(lines):  # not across a statement, unless it is longer than half of the part
            for depth in sorted(set(ends.values())):
                cuts = [at for at in range((begin + last) // 2 + 1, last) if ends.get(at) == depth]
                if cuts:
                    last = cuts[-1]
                    break
        yield begin, last
        begin = last


def _ends(text: str) -> dict[int, int]:
    """The last line of each statement, and how deep it is nested."""
    found = dict[int, int]()
    try:
        waiting: list[tuple[ast.AST, int]] = [(parse(text), -1)]
    except SourceError:
        return found
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, ast.stmt) and node.end_lineno is not None:
            found[node.end_lineno] = min(depth, found.get(node.end_lineno, depth))
        waiting += [(one, depth + 1) for one in ast.iter_child_nodes(node) if _nests(one)]
    return found


def _nests(node: ast.AST) -> bool:
    return isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case)


def signatures(text: str, part: ShownLines | None = None) -> Iterator[str]:
    """The classes and functions of a Python file in order, a line each, indented as they are nested.

    Without those of a part that is shown, for which the imports are told as well.
    """
    try:
        tree = parse(text)
    except SourceError:
        return
    for node in tree.body if part is not None else ():
        if isinstance(node, ast.Import | ast.ImportFrom) and not _is_in(node, part):
            yield ast.unparse(node)[:MAX_LINE_CHARS]
    yield from _of(tree, "", part)


def _is_in(node: ast.stmt, part: ShownLines | None) -> bool:
    return part is not None and part.first <= node.lineno <= part.last


def _of(node: ast.Module | ast.ClassDef, indent: str, part: ShownLines | None) -> Iterator[str]:
    for one in node.body:
        if isinstance(one, ast.ClassDef):
            bases = ", ".join(map(ast.unparse, one.bases))
            if not _is_in(one, part):
                yield f"{indent}class {one.name}{f'({bases})' if bases else ''}"[:MAX_LINE_CHARS]
            yield from _of(one, f"{indent}  ", part)
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_in(one, part):
            returns = f" -> {ast.unparse(one.returns)}" if one.returns else ""
            yield f"{indent}def {one.name}({ast.unparse(one.args)}){returns}"[:MAX_LINE_CHARS]
