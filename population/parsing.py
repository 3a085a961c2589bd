"""The one door through which a source becomes a syntax tree: bounded in size and depth, else a reason.

Walking, printing or comparing what comes out of it is a bounded amount of work.
"""

from __future__ import annotations

import ast
import io
import re
import threading
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache

from population.file_set import python_of

MAX_BYTES = 400_000
MAX_LINES = 20_000
MAX_FSTRING_CHARS = 32_768  # Python reads one in time that is quadratic in its length
MAX_DEPTH = 100  # levels of the syntax tree: what walks it by recursion gets through
MAX_NODES = 100_000
MAX_KEPT = 16  # trees kept: those of one merge and of its parts

_WARNINGS_LOCK = threading.Lock()  # `catch_warnings` swaps a list that all threads share


def parse(source: str) -> ast.Module:
    """The syntax tree of a source. SyntaxError for what does not parse, or is too large or too deep.

    Of several files it is one tree with the line numbers of the whole text; a statement with the path of each
    stands before its own, and holds the text of one that is no Python. Other callers may hold the same tree:
    it is read, never changed.
    """
    tree, said, line = _read(source)
    if tree is None:
        raise SyntaxError(said, ("<source>", line, None, None))
    return tree


def tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """The tokens of a source, line ends unified as Python unifies them. SyntaxError."""
    unified = python_of(source)[0].replace("\r\n", "\n").replace("\r", "\n")
    try:
        yield from tokenize.generate_tokens(io.StringIO(unified).readline)
    except tokenize.TokenError as error:
        raise SyntaxError(str(error.args[0])) from error


@lru_cache(maxsize=MAX_KEPT)  # checking or merging a source asks for its tree ten times and more
def _read(source: str) -> tuple[ast.Module | None, str, int | None]:
    """The tree, or None with the reason and its line; the cheap checks stand before the dear ones."""
    size = len(source.encode(errors="replace"))
    if size > MAX_BYTES:
        return None, f"{size:,} bytes are more than {MAX_BYTES:,}", None
    if source.count("\n") + source.count("\r") > MAX_LINES:
        return None, f"more than {MAX_LINES:,} lines", None
    try:
        with suppress(SyntaxError):  # the parser says it better
            for token in tokens(source) if len(source) > MAX_FSTRING_CHARS else ():
                prefix = re.split("[\"']", token.string[:3], maxsplit=1)[0].lower()
                if len(token.string) > MAX_FSTRING_CHARS and "f" in prefix:
                    said = f"an f-string of more than {MAX_FSTRING_CHARS:,} characters"
                    return None, said, token.start[0]
        tree = _tree(source)
    except SyntaxError as error:
        return None, error.msg, error.lineno
    too_deep = _too_deep(tree)
    return (None, *too_deep) if too_deep else (tree, "", None)


def _tree(source: str) -> ast.Module:
    try:
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape is the author's matter, not ours
            text, files = python_of(source)
            tree = ast.parse(text)
    except SyntaxError:
        raise
    except ValueError as error:  # null bytes, lone surrogates
        raise SyntaxError(f"not a Python source: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise SyntaxError("nested too deeply to parse") from error
    if files:
        marks: list[ast.stmt] = [_named(*one) for one in files]
        tree.body = sorted([*marks, *tree.body], key=lambda one: one.lineno)
    return tree


def _named(line: int, path: str, text: str) -> ast.Expr:
    """What stands for the line above a file: a change of its path, or of a text that is no Python, is one of
    the tree."""
    parts: list[ast.expr] = [ast.Constant(one) for one in (path, text)]
    named = ast.Expr(ast.Tuple(parts, ast.Load()), lineno=line, end_lineno=line)
    named.col_offset = named.end_col_offset = 0
    return ast.fix_missing_locations(named)


def _too_deep(tree: ast.Module) -> tuple[str, int | None] | None:
    level: list[ast.AST] = [tree]
    count = depth = 0
    while level:
        count, depth = count + len(level), depth + 1
        if depth > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep", getattr(level[0], "lineno", None)
        if count > MAX_NODES:
            return f"more than {MAX_NODES:,} syntax nodes", None
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return None
