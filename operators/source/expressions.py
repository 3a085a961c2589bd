"""Edits that cannot miss: one expression of one line of a source, and the JSON schema that admits no other.

A server that decodes by a schema holds a model to it word for word, so that a model too small to copy a line
or to close a bracket still gives an edit that can be made. The lines are the source's own, each found once;
a constant gets another value of its range, any other expression is built from names that the source has.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from operators.source.constants import tunable
from operators.source.knobs import Knob, KnobError, KnobKind, literal_text, rounded, same_value
from operators.source.parse import SourceError, lines_of, parse

MAX_LINES = 400  # of a source that a schema offers, in the order of the source
MAX_NAMES = 120  # of a kind that new expressions are built from, the most frequent
MAX_IDEA_CHARS = 240
MAX_EDITS = 3  # of one answer
STEPS = 12  # a range in equal steps: the values that a constant is offered
_FACTORS = (0.125, 0.25, 0.5, 0.7, 1.4, 2.0, 4.0, 8.0)
_PLAIN = re.compile(r"[ -~]+\Z")  # a schema's texts go through many hands: no other characters
_KEPT = (
    "harness",
    ".finish(",
    ".report(",
    ".batch(",
    ".progress(",
    ".data(",
)  # the script's duties
_NUMBER = r"-?(0|[1-9][0-9]{0,4})(\.[0-9]{1,4})?(e-[1-9])?"


@dataclass(frozen=True, slots=True)
class Expression:
    """The expression of a line that a value replaces."""

    line: str
    start: int
    end: int

    def filled(self, value: str) -> str:
        """The line with another expression."""
        return self.line[: self.start] + value.strip() + self.line[self.end :]


def place_in(line: str) -> Expression | None:
    """Where the expression of a line of its own stands; None: it has none, or it goes on elsewhere."""
    text = line.strip()
    for body in ("", "\n    pass"):
        try:
            tree = parse(text + body + "\n")
        except SourceError:
            continue
        found = _expression(tree.body[0]) if len(tree.body) == 1 else None
        if found is None or not line.isascii():
            return None
        begin = line.index(text)
        start, end = begin + found.col_offset, begin + (found.end_col_offset or 0)
        return Expression(line, start, end) if end <= len(line) else None
    return None


def _expression(statement: ast.stmt) -> ast.expr | None:
    if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return):
        found = statement.value
    elif isinstance(statement, ast.If | ast.While):
        found = statement.test
    else:
        return None
    return found if found is not None and found.lineno == found.end_lineno == 1 else None


@lru_cache(maxsize=32)  # asked for again with each question about a parent
def schema_of(source: str) -> dict[str, object] | None:
    """The JSON schema of an answer about this source; None: it has no line that could be edited so."""
    try:
        tree = parse(source)
        knobs = {one.line: one for one in tunable(source, {}, {})}
    except (SourceError, KnobError):
        return None
    kinds = list[dict[str, object]]()
    plain = list[str]()
    for number, place in _places(tree, source):
        knob = knobs.get(number)
        if knob is None:
            plain.append(place.line)
        elif values := _other_values(knob):
            kinds.append(_edit({"const": place.line}, {"enum": values}))
    if plain and (pattern := _pattern(tree)):
        kinds.append(_edit({"enum": plain}, {"pattern": pattern}))
    if not kinds:
        return None
    edits = {"type": "array", "items": {"anyOf": kinds}, "minItems": 1, "maxItems": MAX_EDITS}
    idea = {"type": "string", "minLength": 1, "maxLength": MAX_IDEA_CHARS}
    numbers = {"type": "array", "items": {"type": "integer"}, "maxItems": 3}
    return _object({"idea": idea, "idea_numbers": numbers, "edits": edits})


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _edit(line: dict[str, object], value: dict[str, object]) -> dict[str, object]:
    return _object({"line": {"type": "string", **line}, "value": {"type": "string", **value}})


def _places(tree: ast.Module, source: str) -> Iterator[tuple[int, Expression]]:
    """The lines with an expression of their own, each found once, and their numbers from 1."""
    lines = lines_of(source)
    counts, seen, given = Counter(lines), set[int](), 0
    for node in sorted(
        (one for one in ast.walk(tree) if isinstance(one, ast.stmt)), key=lambda one: one.lineno
    ):
        number, line = node.lineno, lines[node.lineno - 1]
        if number in seen or _expression_at(node) is None:
            continue
        seen.add(number)
        if counts[line] > 1 or not _PLAIN.match(line) or any(one in line for one in _KEPT):
            continue
        place = place_in(line)
        if place is not None and given < MAX_LINES:
            given += 1
            yield number, place


def _expression_at(node: ast.stmt) -> ast.expr | None:
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return):
        found = node.value
    else:
        found = node.test if isinstance(node, ast.If | ast.While) else None
    one_line = found is not None and found.end_lineno == node.lineno
    return found if one_line else None


def _other_values(knob: Knob) -> list[str]:
    """Values of a constant's range other than its own, as the source writes them."""
    if knob.kind is KnobKind.CHOICE:
        values = [one for one in knob.choices if not same_value(one, knob.value)]
        return [literal_text(one, knob) for one in values]
    numbers = list[float]()
    if isinstance(knob.value, bool | str):
        return []
    if knob.kind is KnobKind.LOG:
        numbers = [knob.value * factor for factor in _FACTORS]
    else:
        width = (knob.high - knob.low) / STEPS
        numbers = [knob.low + width * step for step in range(STEPS + 1)]
    inside = [rounded(knob, one) for one in numbers if knob.low <= one <= knob.high]
    different = [one for one in inside if not same_value(one, knob.value)]
    return list(dict.fromkeys(literal_text(one, knob) for one in different))


def _pattern(tree: ast.Module) -> str:
    """What a new expression looks like: names of the source, numbers, calls two deep, four operations."""
    names, attributes, keywords = Counter[str](), Counter[str](), Counter[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names[node.id] += 1
        elif isinstance(node, ast.arg):
            names[node.arg] += 1
        elif isinstance(node, ast.Attribute):
            attributes[node.attr] += 1
        elif isinstance(node, ast.keyword) and node.arg:
            keywords[node.arg] += 1
    for kept in ("harness", "run"):
        names.pop(kept, None)
    if not names:
        return ""
    name, attribute, keyword = (_one_of(one) for one in (names, attributes, keywords))
    dotted = name + (rf"(\.{attribute}){{0,2}}" if attribute else "")
    simple = f"({_NUMBER}|{dotted})"
    argument = (f"({keyword}=)?" if keyword else "") + simple
    call = rf"(\(({argument}(, {argument}){{0,2}})?\)|\[{simple}\])?"
    term = f"({_NUMBER}|{dotted}{call})"
    sum_ = rf"{term}( (\+|-|\*|/) {term}){{0,3}}"
    return f"^{sum_}( (<|>|<=|>=|==|!=) {term})?$"


def _one_of(names: Counter[str]) -> str:
    kept: Sequence[str] = [one for one, _ in names.most_common(MAX_NAMES) if one.isascii()]
    return "(" + "|".join(sorted(kept)) + ")" if kept else ""
