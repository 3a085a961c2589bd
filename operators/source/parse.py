"""Parse a variant's source, one clear reason when it does not parse; lines as Python counts."""

from __future__ import annotations

import ast
import re

from population.file_set import place_of
from population.parsing import parse as parse_tree

_LINE_END = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")


class SourceError(ValueError):
    """The source does not parse; the message is one sentence that names the line."""


def parse(source: str) -> ast.Module:
    """The syntax tree of a source. Raises SourceError; runs nothing."""
    try:
        return parse_tree(source)
    except SyntaxError as error:
        path, line = place_of(source, error.lineno or 0)
        where = f"{path} line {line}: ".lstrip() if error.lineno else ""
        raise SourceError(f"{where}{error.msg}") from None


def split_lines(source: str) -> list[str]:
    """Lines with their ends, split where Python's own line numbers count (never at a form feed)."""
    return [line for line in _LINE_END.split(source) if line]


def lines_of(source: str) -> list[str]:
    """Lines without their ends; number n of a syntax node is the one at n - 1."""
    return [line.rstrip("\r\n") for line in split_lines(source)]


def line_end_of(source: str) -> str:
    """The line end most lines of this source use: CR LF or LF."""
    return "\r\n" if source.count("\r\n") * 2 > source.count("\n") else "\n"


def unify_lines(source: str) -> str:
    """The source with LF line ends only."""
    return source.replace("\r\n", "\n").replace("\r", "\n")


class Offsets:
    """Turns a syntax node's line (from 1) and UTF-8 column (from 0) into places of the source."""

    def __init__(self, source: str) -> None:
        self._lines = split_lines(source)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def at(self, lineno: int, byte_column: int) -> int:
        """The character offset of a place."""
        start, line = self._starts[lineno - 1], self._lines[lineno - 1]
        if line.isascii():
            return start + byte_column
        return start + len(line.encode()[:byte_column].decode())

    def rest_of_line(self, lineno: int, byte_column: int) -> str:
        """What stands after a place in its line, without the line end."""
        return self._lines[lineno - 1].encode()[byte_column:].decode().rstrip("\r\n")
