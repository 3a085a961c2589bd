"""Knobs: the constants of a source that say in a comment how they may be changed.

MATRIX_LR = 0.02  # knob: log 1e-3 1e-1
DEPTH_SCALE = 3  # knob: int 1 8 what follows a range is for people
ACTIVATION = "relu2"  # knob: choice relu2 gelu silu; here it follows a semicolon
BETAS = (0.8, 0.95)  # knob: float 0.5 0.999; two of them, BETAS[0] and BETAS[1]
"""

from __future__ import annotations

import ast
import functools
import math
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from operators.source.parse import Offsets, SourceError, parse
from population.fingerprint import LARGEST, find_settings, value_of
from population.parsing import tokens

Value = bool | int | float | str
MAX_KNOBS = 256  # of one source; those after them are not read
_COMMENT = re.compile(r"\s*#\s*knob:(.*)$", re.IGNORECASE)
_PLACE = (
    "a knob comment belongs at the end of a top-level `NAME = literal` line, the literal one number, string or "
    "truth value or a tuple of numbers; of a dataclass's field, of add_argument with a default, or of a call "
    "with one keyword that is such a literal"
)


class KnobKind(StrEnum):
    """How a knob's values are spread."""

    LOG = "log"
    INT = "int"
    FLOAT = "float"
    CHOICE = "choice"


class KnobError(ValueError):
    """A knob comment or value that cannot be; the message names the line and the fix."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob: its value, its range (low, high) or its choices, and where its literal stands."""

    name: str
    kind: KnobKind
    value: Value
    text: str  # the literal as written
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Value, ...] = ()
    whole: bool = False  # `int`, or `log` with value and range written as whole numbers
    line: int = 0  # from 1
    start: int = 0  # character offsets of the literal in the source
    end: int = 0

    def holds(self, value: Value) -> bool:
        """Whether the value is of this knob's type and inside its range."""
        if self.kind is KnobKind.CHOICE:
            return any(same_value(value, choice) for choice in self.choices)
        if isinstance(value, bool | str) or not math.isfinite(value):
            return False
        return self.low <= value <= self.high and not (self.whole and value != int(value))


def read_knobs(source: str) -> tuple[Knob, ...]:
    """The knobs in the order of the source. Raises KnobError at the first malformed comment."""
    knobs, errors = _scan(source)
    if errors:
        raise errors[0].with_traceback(None)  # it is kept, and would keep every caller
    return knobs


def sound_knobs(source: str) -> tuple[Knob, ...]:
    """The valid knobs only: a comment that someone spoilt must not stop the others.

    A source that does not parse has none.
    """
    try:
        return _scan(source)[0]
    except KnobError:
        return ()


def unreadable_knobs(source: str) -> tuple[str, ...]:
    """Why each knob comment that is none cannot be read, with its line; nothing of what does not parse."""
    try:
        return tuple(map(str, _scan(source)[1]))
    except KnobError:
        return ()


def with_knobs(source: str, values: Mapping[str, Value]) -> str:
    """The source with these knob values; nothing but the literals changes. Raises KnobError."""
    knobs = {knob.name: knob for knob in sound_knobs(source)}
    texts: dict[str, str] = {}
    for name, value in values.items():
        if name not in knobs:
            known = ", ".join(knobs) or "none"
            raise KnobError(f"there is no knob {name}; the knobs are: {known}")
        knob, plain = knobs[name], plain_value(value)
        if not knob.holds(plain):
            raise KnobError(f"line {knob.line}: {name} = {plain!r} is not in {range_text(knob)}")
        texts[name] = knob.text if same_value(plain, knob.value) else literal_text(plain, knob)
    return with_literals(source, {knobs[name]: text for name, text in texts.items()})


def with_literals(source: str, texts: Mapping[Knob, str]) -> str:
    """The source with each knob's literal replaced by a text, unchecked."""
    for knob in sorted(texts, key=lambda knob: knob.start, reverse=True):
        source = source[: knob.start] + texts[knob] + source[knob.end :]
    return source


def with_ranges(source: str, knobs: Sequence[Knob]) -> str:
    """The source with the ranges of these knobs in its comments, where they are wider than there."""
    for own in sound_knobs(source):
        wanted = next((one for one in knobs if one.name == own.name), own)
        if own.kind is KnobKind.CHOICE or (wanted.low >= own.low and wanted.high <= own.high):
            continue
        ends = (min(wanted.low, own.low), max(wanted.high, own.high))
        low, high = (str(int(one)) if own.whole else repr(float(one)) for one in ends)
        start = source.index("#", own.end)
        end = source.find("\n", start) if "\n" in source[start:] else len(source)
        comment = _RANGE.sub(lambda found: f"{found[1]}{low} {high}", source[start:end])  # noqa: B023
        source = with_ranges(source[:start] + comment + source[end:], knobs)
        break
    return source


_RANGE = re.compile(r"(#\s*knob:\s*\w+\s+)\S+\s+[^\s;]+", re.IGNORECASE)


def at_edge(knob: Knob) -> bool:
    """Whether a number stands at an end of its range, as far as a hundredth of it can tell."""
    if knob.kind is KnobKind.CHOICE or isinstance(knob.value, bool | str):
        return False
    low, high, value = knob.low, knob.high, float(knob.value)
    if knob.kind is KnobKind.LOG:
        low, high, value = math.log(low), math.log(high), math.log(value)
    margin = (high - low) / 100
    return not low + margin < value < high - margin


def range_text(knob: Knob) -> str:
    """A knob's range in words, as in its comment."""
    if knob.kind is KnobKind.CHOICE:
        return "choice " + " ".join(str(choice) for choice in knob.choices)
    return f"{knob.kind} {knob.low:g} {knob.high:g}"


@functools.lru_cache(maxsize=64)  # the same few sources are asked for again and again
def _scan(source: str) -> tuple[tuple[Knob, ...], tuple[KnobError, ...]]:
    try:
        tree = parse(source)
    except SourceError as error:
        raise KnobError(f"the source does not parse: {error}") from None
    offsets, knobs, errors = Offsets(source), dict[str, Knob](), list[KnobError]()
    unread, sites = _remarks(source), find_settings(tree, passed=False)
    top = {id(statement) for statement in tree.body}
    for statement in _statements(tree):
        lineno, column = statement.end_lineno or 0, statement.end_col_offset or 0
        comment = _COMMENT.match(offsets.rest_of_line(lineno, column))
        if not comment:
            continue
        unread.discard(lineno)
        try:
            found = _literals_in(statement, sites, id(statement) in top)
            if len(knobs) + len(found) > MAX_KNOBS:
                raise KnobError(f"line {lineno}: more than {MAX_KNOBS} knobs")
            for name, literal in found.items():
                knob = read_knob(statement.lineno, name, literal, comment[1], source, offsets)
                if knob.name in knobs:
                    raise KnobError(
                        f"line {knob.line}: {knob.name} is a knob twice; keep one of them"
                    )
                knobs[knob.name] = knob
        except KnobError as error:
            errors.append(error)
    errors += [KnobError(f"line {line}: {_PLACE}") for line in sorted(unread)]
    return tuple(knobs.values()), tuple(errors)


def _remarks(source: str) -> set[int]:
    """The lines that hold a knob comment, wherever it stands."""
    try:
        found = [one for one in tokens(source) if one.type == tokenize.COMMENT]
    except SyntaxError:  # the parser reads a little more than the tokenizer
        return set()
    return {one.start[0] for one in found if _COMMENT.match(one.string)}


def _statements(tree: ast.Module) -> list[ast.stmt]:
    """The last statement of each line that has no body: where a comment at its end can belong."""
    last: dict[int, ast.stmt] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            line = node.end_lineno or 0
            if line not in last or _column(last[line]) <= _column(node):
                last[line] = node
    return list(last.values())


def _column(statement: ast.stmt) -> int:
    return statement.end_col_offset or 0


def _literals_in(
    statement: ast.stmt, sites: Mapping[str, ast.expr], top: bool
) -> dict[str, ast.expr]:
    """The literals of a statement that its comment is about, by name. KnobError without one."""
    inside = {id(node) for node in ast.walk(statement)}
    found = {name: one for name, one in sites.items() if id(one) in inside}
    if found:
        return found
    name, literal = literal_of(statement) if top else ("", None)
    if name and literal is not None:
        return {name: literal}
    keywords = {
        one.arg: one.value
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
        for one in node.keywords
        if one.arg and value_of(one.value) is not None
    }
    if len(keywords) != 1:
        of = f" (here are {', '.join(keywords)})" if keywords else ""
        raise KnobError(f"line {statement.lineno}: {_PLACE}{of}")
    return keywords


def read_knob(
    line: int, name: str, literal: ast.expr, comment: str, source: str, offsets: Offsets
) -> Knob:
    """The knob of a literal whose comment is this, without `# knob:`. KnobError."""
    start = offsets.at(literal.lineno, literal.col_offset)
    end = offsets.at(literal.end_lineno or 0, literal.end_col_offset or 0)
    value = value_of(literal)
    if value is None or (not isinstance(value, str) and abs(value) > LARGEST):
        raise KnobError(f"line {line}: {_PLACE}")
    words = comment.split(";")[0].split()
    text = source[start:end]
    try:
        kind = KnobKind(words[0].lower() if words else "")
    except ValueError:
        raise KnobError(
            f"line {line}: {name}: write `# knob:` and then `log a b`, `int a b`, `float a b` "
            "or `choice a b c`"
        ) from None
    if kind is KnobKind.CHOICE:
        choices = _choices(line, name, value, words[1:])
        return Knob(name, kind, value, text, choices=choices, line=line, start=start, end=end)
    low, high, whole = _range(line, name, kind, value, words[1:])
    return Knob(name, kind, value, text, low, high, (), whole, line, start, end)


def literal_of(statement: ast.stmt) -> tuple[str, ast.expr | None]:
    """The one name a statement binds and its literal (None: not one literal)."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    else:
        return "", None
    name = target.id if isinstance(target, ast.Name) else ""
    return name, value if value_of(value) is not None else None


def _range(
    line: int, name: str, kind: KnobKind, value: Value, words: list[str]
) -> tuple[float, float, bool]:
    numbers = []  # up to the first word, which begins what is said for people
    for word in words:
        if (number := _number(word.rstrip(","))) is None:
            break
        numbers.append(number)
    low, high = numbers if len(numbers) == 2 else (0, 0)
    if not low < high:
        raise KnobError(f"line {line}: {name}: `{kind}` needs two numbers, the smaller one first")
    if isinstance(value, bool | str) or not math.isfinite(value):
        raise KnobError(
            f"line {line}: {name}: `{kind}` needs a number, not {value!r}; use `choice`"
        )
    if kind is KnobKind.LOG and (low <= 0 or value <= 0):
        raise KnobError(f"line {line}: {name}: `log` needs numbers above 0; use `float`")
    integers = all(isinstance(number, int) for number in (low, high, value))
    if kind is KnobKind.INT and not integers:
        raise KnobError(f"line {line}: {name}: `int` needs whole numbers; use `float`")
    return low, high, integers and kind is not KnobKind.FLOAT


def _choices(line: int, name: str, value: Value, words: list[str]) -> tuple[Value, ...]:
    read = _word if not isinstance(value, str) else (lambda word: word.strip("\"'"))
    choices = tuple(dict.fromkeys(read(word.rstrip(",")) for word in words))
    if len(choices) < 2:
        raise KnobError(f"line {line}: {name}: `choice` needs at least two different words")
    if any(_sort(choice) is not _sort(value) for choice in choices):
        raise KnobError(
            f"line {line}: {name}: the choices must be of the type of its value {value!r}"
        )
    return choices


def _number(word: str) -> int | float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    if not abs(number) <= LARGEST:
        return None
    return int(word) if re.fullmatch(r"[+-]?\d+", word, re.ASCII) else number


def _word(word: str) -> Value:
    try:
        value = ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return word
    return value if isinstance(value, bool | int | float | str) else word


def plain_value(value: object) -> Value:
    """A Python value, also from a numpy scalar."""
    plain = value.item() if hasattr(value, "item") else value
    if not isinstance(plain, bool | int | float | str):
        raise KnobError(f"{plain!r} is not a number, string or truth value")
    return plain


def same_value(a: Value, b: Value) -> bool:
    """Equal and of one sort: True is not 1, though 1 is 1.0."""
    return a == b and _sort(a) is _sort(b)


def _sort(value: Value) -> type:
    return float if type(value) is int else type(value)


def literal_text(value: Value, knob: Knob) -> str:
    """A value as a knob's source says it."""
    if isinstance(value, str):
        text = repr(value)
        plain = "\\" not in text and '"' not in text
        return f'"{value}"' if plain and knob.text.endswith('"') else text
    if isinstance(value, bool) or knob.kind is KnobKind.CHOICE:
        return repr(value)
    return str(int(value)) if knob.whole else repr(float(value))


def rounded(knob: Knob, value: float) -> int | float:
    """A number as a person would write it: three digits of the value, or of the range for `float`."""
    value = min(max(value, knob.low), knob.high)
    if knob.whole:
        return round(value)
    if knob.kind is KnobKind.LOG:
        tidy = float(f"{value:.3g}")
    else:  # 0.1 of 0..1 is not 0.0996
        tidy = round(value, 2 - math.floor(math.log10(knob.high - knob.low)))
    return tidy if knob.low <= tidy <= knob.high else value
