"""Which variants share a schedule: their curves can be compared at equal progress, others' cannot.

The schedule is what stands in the section of train.py whose banner names it, and the values of the
constants in capitals that it reads. A file without such a section has no schedule to compare.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator

from operators.source.parse import lines_of
from population.parsing import parse

_RULE = re.compile(r"^# [=\-#]{20,}\s*$")
_TITLE = re.compile(r"^#.*\bschedule\b", re.IGNORECASE)


def schedule_of(source: str) -> str | None:
    """A digest that is the same where section and constants are; None without a section, or unparsable."""
    lines = _section(lines_of(source))
    if lines is None:
        return None
    try:
        tree = parse(source)
        return _digest(tree, *lines)
    except (
        SyntaxError,
        ValueError,
    ):  # ValueError: a whole number of more digits than Python writes
        return None


def _digest(tree: ast.Module, first: int, last: int) -> str | None:
    inside = [node for node in tree.body if first <= node.lineno <= last]
    if not inside:
        return None
    read = {name for node in inside for name in _constants(node)}
    values = {
        target.id: ast.dump(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in read
    }
    parts = [*(ast.dump(node) for node in inside), *(f"{k}={values[k]}" for k in sorted(values))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _section(lines: list[str]) -> tuple[int, int] | None:
    """First and last line of the section, counted from 1: from its banner to the next one."""
    rules = [at for at, line in enumerate(lines) if _RULE.match(line)]
    ruled = set(rules)
    banners = [
        at for at in rules if at + 2 in ruled or (at + 2 < len(lines) and at + 1 not in ruled)
    ]
    titled = [at for at in banners if at + 1 < len(lines) and _TITLE.match(lines[at + 1])]
    if len(titled) != 1:
        return None
    following = [at for at in rules if at > titled[0] + 2]
    return titled[0] + 1, following[0] if following else len(lines)


def _constants(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and one.id.isupper():
            yield one.id
