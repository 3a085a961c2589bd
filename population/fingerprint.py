"""What a source says, without how it is written: fingerprints and sizes from its syntax tree."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Collection
from functools import lru_cache

from population.parsing import parse

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_FORM_ONLY = frozenset({"kind", "type_comment", "type_ignores", "ctx"})  # u"" prefix and the like


@lru_cache(maxsize=64)  # a merge asks for its parents' and its own with every draw
def fingerprint(source: str) -> str:
    """64 hex digits, equal for sources that differ only in layout, comments and docstrings.

    Names, keyword order and every constant count; `-x` before a number is read as the number -x.
    SyntaxError for what does not parse.
    """
    return _digest(parse(source), masked=frozenset())


def knob_free_fingerprint(source: str) -> str:
    """Like `fingerprint`, with the values of UPPER-case literals of the module level left out."""
    tree = parse(source)
    return fingerprint_without(tree, _knob_values(tree))


def fingerprint_without(tree: ast.Module, left_out: Collection[ast.expr]) -> str:
    """Like `fingerprint`, of a tree with these nodes left out. SyntaxError when it is nested too deeply."""
    return _digest(tree, masked=frozenset(map(id, left_out)))


def count_nodes(source: str) -> int:
    """How many syntax nodes a source holds; docstrings and load/store marks are not counted.

    SyntaxError for what does not parse.
    """
    waiting: list[ast.AST] = [parse(source)]
    count = 0
    while waiting:
        node = waiting.pop()
        count += 1
        for name, value in ast.iter_fields(node):
            if name in _FORM_ONLY:
                continue
            for part in _without_docstring(node, name, value):
                if isinstance(part, ast.AST):
                    waiting.append(part)
    return count


def _digest(tree: ast.Module, masked: frozenset[int]) -> str:
    parts: list[str] = []
    try:
        _write(tree, masked, parts.append)
    except RecursionError as error:
        raise SyntaxError("nested too deeply to parse") from error
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _write(node: ast.AST, masked: frozenset[int], put: Callable[[str], None]) -> None:
    """One canonical text of a tree. Our own, since `ast.dump` changed between Python versions."""
    if id(node) in masked:
        put("(knob)")
        return
    number = _number(node)
    if number is not None:
        put(f"({_constant(number)})")
        return
    put(f"({type(node).__name__}")
    for name, value in ast.iter_fields(node):
        if name in _FORM_ONLY or (value is None and not isinstance(node, ast.Constant)):
            continue
        parts = _without_docstring(node, name, value)
        if not parts:
            continue
        put(f" {name}[")
        for part in parts:
            if isinstance(part, ast.AST):
                _write(part, masked, put)
            else:
                put(f"{_constant(part)},")
        put("]")
    put(")")


def _without_docstring(node: ast.AST, name: str, value: object) -> list[object]:
    """A field as a list, less the docstring; a body of nothing but a docstring is empty."""
    if not isinstance(value, list):
        return [value]
    if name != "body" or not isinstance(node, _DOCUMENTED) or not value:
        return value
    first = value[0]
    documented = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    return value[1:] if documented else value


def _constant(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int {value:x}"  # decimal text of a huge number is refused by Python
    return f"{type(value).__name__} {value!r}"


def _number(node: ast.AST) -> int | float | None:
    """The number that a literal stands for, with its sign; None for everything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand) if isinstance(node.operand, ast.Constant) else None
        return None if inner is None else -inner
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None


def _knob_values(tree: ast.Module) -> list[ast.expr]:
    values: list[ast.expr] = []
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id.isupper() and _is_literal(value):
            values.append(value)
    return values


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str | bool | int | float)
    return _number(node) is not None
