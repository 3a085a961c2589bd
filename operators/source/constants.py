"""The constants of a structure: the literals that set what it does, with and without a knob comment."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from operators.source.knobs import (
    MAX_KNOBS,
    Knob,
    KnobError,
    KnobKind,
    Value,
    literal_text,
    plain_value,
    range_text,
    read_knob,
    same_value,
    sound_knobs,
    with_literals,
)
from operators.source.parse import Offsets, SourceError, parse
from population.fingerprint import LARGEST, find_settings, knob_free_fingerprint, value_of

MAX_SUGGESTED = 12  # names of constants in one message
NEAR = 0.003  # of a range: settings nearer than this in every knob are the same
GUESS_FACTOR = 4.0  # a guessed range goes so far up and down
MAX_SHARE_FROM_ZERO = 0.5  # a share that is 0 now may go so far
# Names in small letters that say how much is run, shown or kept rather than how it learns.
_SAYS_LITTLE = re.compile(
    r"seed|interval|iters?$|steps?$|epochs?$|log|eval|save|port|rank|world|vers|vocab|worker|best|count|_id$|max_|num_",
    re.IGNORECASE,
)
# Of a number that a call is given by name: also what would choose the data that it is scored on.
_SAYS_LITTLE_IN_A_CALL = re.compile(
    r"seed|random_state|interval|iters?$|steps?$|epochs?$|log|eval|verb|save|port|rank|world|vers|worker|jobs|"
    r"thread|best|count|_id$|timeout|retries|test|valid|train_|^cv$|splits?$|folds?$|^in_|^out_|input|output|"
    r"classes|channels|vocab|features$|embeddings$|shape|^size$|^ndmin$|skip|rows|cols|decimal|length|capacity",
    re.IGNORECASE,
)
_IS_A_SHARE = re.compile(r"drop|decay|smooth|noise|jitter|penalty|mix", re.IGNORECASE)
MIN_LOG_WHOLE = 16  # whole numbers from here on are guessed by their logarithm


@dataclass(frozen=True, slots=True)
class Structure:
    """A source without its constants: the fingerprint it shares with all its settings, and its own."""

    fingerprint: str
    constants: Mapping[str, Value]


def structure_of(source: str) -> Structure:
    """What a source is, and how it is set. SyntaxError or SourceError for what does not parse."""
    return Structure(knob_free_fingerprint(source), constants(source))


def constants(source: str) -> dict[str, Value]:
    """What `find_settings` of population.fingerprint finds, by name. SourceError."""
    return {name: _value(literal) for name, literal in _literals(source).items()}


def tunable(
    source: str,
    at_home: Container[str],
    around: Mapping[str, Value],
    ranges: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Knob, ...]:
    """The sound knobs, and a guessed one for each number without a comment whose name is not `at_home`.

    A range is guessed around the value in `around` where that has one, so that it stays the same for
    all settings of a structure. With `ranges`, by name and as in a comment, these are the others, and nothing
    is guessed. KnobError for what does not parse.
    """
    sound = sound_knobs(source)
    if ranges:
        names = {knob.name for knob in sound}
        return (*sound, *(one for one in _named(source, ranges)[0] if one.name not in names))
    names = {knob.name for knob in sound}
    try:
        literals = _literals(source)
    except SourceError as error:
        raise KnobError(f"the source does not parse: {error}") from None
    declared = find_settings(parse(source), passed=False)
    offsets, guessed = Offsets(source), list[Knob]()
    for name, literal in literals.items():
        if len(sound) + len(guessed) == MAX_KNOBS:
            break
        if name in names or name in at_home or _says_little(name, declared):
            continue
        start = offsets.at(literal.lineno, literal.col_offset)
        end = offsets.at(literal.end_lineno or 0, literal.end_col_offset or 0)
        value, line = _value(literal), literal.lineno
        knob = Knob(name, KnobKind.FLOAT, value, source[start:end], line=line, start=start, end=end)
        found = _guessed(knob, around.get(name, value))
        if found is not None:
            guessed.append(found)
    return (*sound, *guessed)


def wrong_range(source: str, ranges: Mapping[str, str]) -> str | None:
    """Why ranges by name cannot be used on a source, in one sentence; None when they can."""
    try:
        errors = _named(source, ranges)[1]
    except KnobError as error:
        return str(error)
    return str(errors[0]) if errors else None


def _named(
    source: str, ranges: Mapping[str, str]
) -> tuple[tuple[Knob, ...], tuple[KnobError, ...]]:
    """The knobs of these names, each with its range, and what is wrong with the others."""
    try:
        literals = _literals(source)
    except SourceError as error:
        raise KnobError(f"the source does not parse: {error}") from None
    offsets, found, errors = Offsets(source), list[Knob](), list[KnobError]()
    for name, told in ranges.items():
        try:
            if name not in literals:
                near = [one for one in literals if one.endswith(f".{name}")] or list(literals)
                known = ", ".join(near[:MAX_SUGGESTED]) or "none"
                raise KnobError(f"there is no constant {name}; there are: {known}")
            line = literals[name].lineno
            found.append(read_knob(line, name, literals[name], told, source, offsets))
        except KnobError as error:
            errors.append(error)
    return tuple(found), tuple(errors)


def _says_little(name: str, declared: Container[str]) -> bool:
    """Whether a name says how much is run, shown or kept, or what it is scored on, not how it learns."""
    if name not in declared:
        return bool(_SAYS_LITTLE_IN_A_CALL.search(name.rpartition(".")[2]))
    return not name.isupper() and bool(_SAYS_LITTLE.search(name))


def with_settings(source: str, knobs: Sequence[Knob], values: Mapping[str, Value]) -> str:
    """The source with these values of knobs that were read from it; only literals change. KnobError."""
    by_name, texts = {knob.name: knob for knob in knobs}, dict[Knob, str]()
    for name, value in values.items():
        if name not in by_name:
            raise KnobError(
                f"there is no knob {name}; the knobs are: {', '.join(by_name) or 'none'}"
            )
        knob, plain = by_name[name], plain_value(value)
        if not knob.holds(plain):
            raise KnobError(f"{name} = {plain!r} is not in {range_text(knob)}")
        if not same_value(plain, knob.value):
            texts[knob] = literal_text(plain, knob)
    return with_literals(source, texts)


def place(knob: Knob, value: Value) -> float:
    """Where in its range a value lies, 0 to 1 (outside it: beyond); a choice by its number."""
    if knob.kind is KnobKind.CHOICE:
        found = [at for at, one in enumerate(knob.choices) if same_value(one, value)]
        return found[0] / (len(knob.choices) - 1) if found else -1.0
    number = float(value) if not isinstance(value, str) else math.nan
    if knob.kind is KnobKind.LOG:
        number = math.log(number) if number > 0 else -math.inf
        return (number - math.log(knob.low)) / (math.log(knob.high) - math.log(knob.low))
    return (number - knob.low) / (knob.high - knob.low)


def distance(
    knobs: Sequence[Knob], first: Mapping[str, Value], second: Mapping[str, Value]
) -> float:
    """How far apart two settings are: the largest share of a range; 1 for another choice."""
    found = [0.0]
    for knob in knobs:
        if knob.name not in first or knob.name not in second:
            continue
        a, b = first[knob.name], second[knob.name]
        if same_value(a, b):
            continue
        other = knob.kind is KnobKind.CHOICE or isinstance(a, str) or isinstance(b, str)
        apart = 1.0 if other else abs(place(knob, a) - place(knob, b))
        found.append(apart if math.isfinite(apart) else 1.0)
    return max(found)


def _literals(source: str) -> dict[str, ast.expr]:
    """What `find_settings` finds; a number that a call is given is called as its comment has it."""
    found = find_settings(parse(source))
    if called := {one.start: one.name for one in sound_knobs(source) if one.name not in found}:
        offsets = Offsets(source)
        found = {
            called.get(offsets.at(one.lineno, one.col_offset), name): one
            for name, one in found.items()
        }
    return {name: one for name, one in found.items() if _is_small_enough(value_of(one))}


def _is_small_enough(value: Value | None) -> bool:
    return isinstance(value, str) or (value is not None and abs(value) <= LARGEST)


def _value(literal: ast.expr) -> Value:
    value = value_of(literal)
    assert value is not None  # `find_settings` gives literals alone
    return value


def _guessed(knob: Knob, around: Value) -> Knob | None:
    """The knob with a range around a number; None where its size says nothing about its range."""
    value = knob.value
    if isinstance(value, bool | str) or isinstance(around, bool | str) or around < 0 or value < 0:
        return None
    if not around or not value:
        if not _IS_A_SHARE.search(knob.name) or isinstance(value, int) or max(around, value) >= 1:
            return None
        high = max(MAX_SHARE_FROM_ZERO, around, value)
        return replace(knob, kind=KnobKind.FLOAT, low=0.0, high=high)
    kind, low, high, whole = KnobKind.LOG, around / GUESS_FACTOR, around * GUESS_FACTOR, False
    if isinstance(value, int) and isinstance(around, int):
        if around < 2:  # 0 and 1 are often flags
            return None
        whole = True
        kind = KnobKind.LOG if around >= MIN_LOG_WHOLE else KnobKind.INT
        low, high = max(1, round(low)), round(high)
    elif 0.5 <= around < 1:  # a share, a momentum: the distance to 1 is what matters
        kind, rest = KnobKind.FLOAT, 1 - around
        low, high = max(0.0, 1 - GUESS_FACTOR * rest), 1 - rest / GUESS_FACTOR
    low, high = min(low, value), max(high, value)
    return Knob(
        knob.name, kind, value, knob.text, low, high, (), whole, knob.line, knob.start, knob.end
    )
