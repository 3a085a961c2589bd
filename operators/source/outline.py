"""What of a large set of files is shown to a model: whole files within a limit, of the others an outline."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from operators.source.parse import SourceError, parse
from population.file_set import head_of, is_python, join_files, split_files

MAX_OUTLINE_CHARS = 12_000  # of all outlines together
MAX_LINE_CHARS = 160  # of a signature


def shown_within(source: str, limit: int, turn: int = 0) -> tuple[str, str]:
    """The files that are shown whole, and the outline of all others; ("", "") where not one fits the limit.

    A source within the limit is shown as it is. `turn`: which file comes first, so that each has its turn;
    those that follow it are taken as long as they fit. `limit`: characters of the whole files.
    """
    if len(source) <= limit:
        return source, ""
    files = split_files(source)
    paths, whole, left = list(files), dict[str, str](), limit
    for at in range(len(paths)):
        path = paths[(turn + at) % len(paths)]
        size = len(head_of(path)) + 2 + len(files[path])
        if size <= left:
            whole[path] = files[path]
            left -= size
    if not whole:
        return "", ""
    outlines, room = list[str](), MAX_OUTLINE_CHARS
    for path, text in files.items():
        if path in whole:
            continue
        told = f"{path}: {len(text.splitlines()):,} lines, {len(text):,} characters\n"
        for line in signatures(text) if is_python(path) else ():
            told += f"  {line}\n"
        outlines.append(told[: max(room, 0)])
        room -= len(told)
    cut = "(the rest is left out)\n" if room < 0 else ""
    return join_files(whole), "".join(outlines) + cut


def signatures(text: str) -> Iterator[str]:
    """The classes and functions of a Python file in order, a line each, indented as they are nested."""
    try:
        tree = parse(text)
    except SourceError:
        return
    yield from _of(tree, "")


def _of(node: ast.Module | ast.ClassDef, indent: str) -> Iterator[str]:
    for one in node.body:
        if isinstance(one, ast.ClassDef):
            bases = ", ".join(map(ast.unparse, one.bases))
            yield f"{indent}class {one.name}{f'({bases})' if bases else ''}"[:MAX_LINE_CHARS]
            yield from _of(one, f"{indent}  ")
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            returns = f" -> {ast.unparse(one.returns)}" if one.returns else ""
            yield f"{indent}def {one.name}({ast.unparse(one.args)}){returns}"[:MAX_LINE_CHARS]
