"""What can be said against a source before it runs."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec

from population.fingerprint import parse

# Text that a model knows by heart could be pasted into a source, as it is or in any code.
MOST_SOURCE_BYTES = 100_000
MOST_LITERAL = 4_096  # characters or bytes of one literal, digits of one number
MOST_LITERALS = 32_768  # characters, bytes and digits of all of them
MOST_COMMENTS = 32_768  # characters
MOST_NAMES = 16_384  # characters of all different names
CALLS = ("start", "progress", "finish")


def check_source(source: str) -> str | None:
    """Why a source cannot be a train.py, in one line; None when nothing speaks against it."""
    if len(source.encode(errors="replace")) > MOST_SOURCE_BYTES:
        return f"the source is larger than {MOST_SOURCE_BYTES:,} bytes"
    try:
        tree = parse(source)
    except SyntaxError as error:
        return f"does not parse: {error.msg} (line {error.lineno})"
    nodes = list(ast.walk(tree))
    return _literals(nodes) or _words(source) or _contract(nodes) or _imports(tree)


def _literals(nodes: list[ast.AST]) -> str | None:
    total = 0
    for node in nodes:
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str | bytes):
            size = len(value)
        elif isinstance(value, int):
            size = 1 + value.bit_length() * 3 // 10
        elif isinstance(value, float | complex):
            size = len(repr(value))
        else:
            continue
        total += size
        if size > MOST_LITERAL:
            line = getattr(node, "lineno", 0)
            return (
                f"a literal is longer than {MOST_LITERAL:,} (line {line}): data belongs in the data"
            )
    return _too_much("literals", total, MOST_LITERALS)


def _words(source: str) -> str | None:
    """Comments and names: a source can read itself."""
    comments, names = 0, set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                comments += len(token.string)
            elif token.type == tokenize.NAME:
                names.add(token.string)
    except (tokenize.TokenError, SyntaxError) as error:
        return f"does not parse: {error}"
    return _too_much("comments", comments, MOST_COMMENTS) or _too_much(
        "names", sum(map(len, names)), MOST_NAMES
    )


def _too_much(what: str, size: int, most: int) -> str | None:
    return f"its {what} hold more than {most:,} characters together" if size > most else None


def _contract(nodes: list[ast.AST]) -> str | None:
    called, imported = set(), False
    for node in nodes:
        if isinstance(node, ast.Call):
            called.add(node.func.attr if isinstance(node.func, ast.Attribute) else _name(node.func))
        elif isinstance(node, ast.Import):
            imported |= any(alias.name == "harness" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported |= node.module == "harness"
    if not imported:
        return "it does not import harness"
    for name in CALLS:
        if name not in called:
            shown = "harness.start()" if name == "start" else f"run.{name}({_ARGUMENT[name]})"
            return f"the call {shown} is missing"
    return None


_ARGUMENT = {"progress": "", "finish": "model"}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _imports(tree: ast.Module) -> str | None:
    for node in _unguarded(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            return f"a relative import has nothing to be relative to (line {node.lineno})"
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
        for name in names:
            if not _exists(name.split(".")[0]):
                return f"imports {name}, which is not installed here (line {node.lineno})"
    return None


def _unguarded(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run come what may: neither tried nor under a condition."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.Try | ast.If | ast.expr):
            yield from _unguarded(node)


@lru_cache(maxsize=512)
def _exists(name: str) -> bool:
    try:
        return name == "harness" or find_spec(name) is not None
    except (ImportError, ValueError):
        return False
