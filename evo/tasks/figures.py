"""The figures of a run, from what it printed and the files that it wrote: read, never believed."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from evo.evaluation.process import Ended
from evo.files import take_back
from evo.tasks.settings import MetricSettings
from population.types import Status

MAX_FILE_BYTES = 4 << 20
TABLES = {".csv": ",", ".tsv": "\t"}  # what parts the columns of a file with such a name
WRITTEN = "metrics.json"  # in {out}, where a metric names no place
HELD_OUT = "(held out)"  # in place of a number that the search must not see
MAX_NUMBER = 1e300
MAX_LINE = 4096  # characters of a line that are looked at
MAX_PATTERN_LINE = 500  # the same where the pattern is a user's own: it may go back and forth
READ_SECONDS = 10.0  # of CPU, for the lines of a run: a script may print them to hold us up
# A currency before it and a percent sign behind it say nothing; commas part thousands. What was taken is never
# given back (++, *+): else a line made for it takes the square of its length.
_DIGITS = r"\d++(?:,\d++)*+(?:\.\d*+)?+|\.\d++"
_NUMBER = (
    rf"\$?+\s*+([-+]?+(?:{_DIGITS})(?:[eE][-+]?\d++)?+|[-+]?+(?:nan|inf(?:inity)?+))(?:\s*+%)?+"
)
_PICK: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": lambda found: found[-1],
    "first": lambda found: found[0],
    "min": min,
    "max": max,
    "mean": statistics.fmean,
}


def read_figures(
    metrics: Mapping[str, MetricSettings], text: str, folder: Path, out: str
) -> dict[str, float]:
    """Each metric's number. Ended: rejected where one is missing, diverged where one is not finite.

    `text` is the run's output, `folder` where it ran, `out` the part of it that `{out}` stands for.
    """
    lines = [line[:MAX_LINE] for line in re.split(r"[\r\n]+", text) if line.strip()]
    until = time.thread_time() + READ_SECONDS
    found = {}
    for name, one in metrics.items():
        if one.line:
            number = _in_lines(one, lines, until)
        elif one.file:
            number = _in_file(one, folder, out)
        else:
            number = _told(one, name, lines, folder, out)
        if not math.isfinite(number):
            raise Ended(Status.DIVERGED, f"{name} is {number}")
        low, high = one.plausible or (-math.inf, math.inf)
        if not low <= number <= high:
            raise Ended(
                Status.REJECTED, f"{name} is {number:g}, and plausible is {low:g} to {high:g}"
            )
        found[name] = number
    return found


def without_figures(metrics: Mapping[str, MetricSettings], text: str) -> str:
    """A text, of what a run printed or of why it failed, without the numbers of these metrics."""
    until, lines = time.thread_time() + READ_SECONDS, list[str]()
    for line in text.split("\n") if metrics else ():
        for name, one in metrics.items():
            if one.line:
                most = MAX_PATTERN_LINE if one.line.startswith("re:") else MAX_LINE
                line = pattern_of(one.line).sub(HELD_OUT, line[:most])
            else:
                key = re.escape((one.key or name).rpartition(".")[2])
                line = re.sub(rf"{key}[\"']?\s*+[:=]\s*+{_NUMBER}", HELD_OUT, line[:MAX_LINE])
        if time.thread_time() > until:
            break
        lines.append(line)
    return "\n".join(lines) if metrics else text


def _in_lines(one: MetricSettings, lines: Sequence[str], until: float) -> float:
    """`until`: seconds of this thread's CPU time."""
    assert one.line is not None
    pattern = pattern_of(one.line)
    most = MAX_PATTERN_LINE if one.line.startswith("re:") else MAX_LINE
    found = list[float]()
    for line in lines:
        if time.thread_time() > until:
            raise Ended(
                Status.REJECTED, f"looking for {one.in_words} took more than {READ_SECONDS:g} s"
            )
        found += [_value(match) for match in pattern.finditer(line[:most])]
    if found:
        return _picked(one, found)
    said = f"; the last: {lines[-1][:200]}" if lines else ""
    raise Ended(Status.REJECTED, f'no line "{one.line}" in {len(lines)} lines of output{said}')


def _picked(one: MetricSettings, found: Sequence[float]) -> float:
    """One of several; one that is not finite among them is not passed over."""
    broken = [number for number in found if not math.isfinite(number)]
    return broken[0] if broken and one.pick not in ("last", "first") else _PICK[one.pick](found)


@lru_cache(maxsize=64)
def pattern_of(line: str) -> re.Pattern[str]:
    """What a template such as "val loss {}" or `re: loss=(\\S+)` finds in a line."""
    if line.startswith("re:"):
        return re.compile(line[3:].strip())
    pieces = [r"\s++".join(map(re.escape, re.split(r"\s+", one))) for one in line.split("{}")]
    first = r"(?<!\w)" if re.match(r"\w", line) else ""  # "loss {}" is not found in "val_loss 2"
    if line.startswith("{}"):
        first = r"(?<![\d.,])"  # and a number not in the middle of one
    return re.compile(first + _NUMBER.join(pieces), re.IGNORECASE)


def _value(match: re.Match[str]) -> float:
    """One number, or two as their quotient: 9901/10000."""
    numbers = [_number(text) for text in match.groups() if text is not None]
    if not numbers:
        return math.nan
    if len(numbers) == 1:
        return numbers[0]
    return numbers[0] / numbers[1] if numbers[1] else math.nan


def _number(text: str) -> float:
    try:
        number = float(text.replace(",", "").strip("$% "))
    except ValueError:
        raise Ended(Status.REJECTED, f"{text[:60]!r} is no number") from None
    return math.copysign(math.inf, number) if abs(number) >= MAX_NUMBER else number


def _told(one: MetricSettings, name: str, lines: Sequence[str], folder: Path, out: str) -> float:
    """A figure by its name: in a block below ---, in METRIC lines, in a last line of JSON, in metrics.json."""
    key = one.key or name
    named = rf"{re.escape(key)}\s*[:=]\s*{_NUMBER}"
    dashes = [at for at, line in enumerate(lines) if re.fullmatch(r"-{3,}", line.strip())]
    for prefix, among in (("", lines[dashes[-1] + 1 :] if dashes else ()), (r"METRIC\s+", lines)):
        pattern = re.compile(rf"\s*{prefix}{named}", re.IGNORECASE)
        if found := [_value(match) for line in among if (match := pattern.match(line))]:
            return _picked(one, found)
    if lines and lines[-1].lstrip().startswith("{"):
        try:
            told = json.loads(lines[-1])
        except (ValueError, RecursionError):
            told = {}
        if found := _numbers(_at(told, key)):
            return _picked(one, found)
    if os.path.lexists(folder / out / WRITTEN):
        return _in_file(
            one.model_copy(update={"file": f"{{out}}/{WRITTEN}", "key": key}), folder, out
        )
    raise Ended(
        Status.REJECTED,
        f"no {key} in {len(lines)} lines of output: neither below a line ---, nor as METRIC {key}=..., nor "
        f"in a last line of JSON, nor in {{out}}/{WRITTEN}",
    )


# -- Files. A run may put a link or a pipe where a file is expected: neither is followed.


def _in_file(one: MetricSettings, folder: Path, out: str) -> float:
    assert one.file is not None and one.key is not None
    parted = TABLES.get(Path(one.file).suffix.lower())
    path = folder / one.file.replace("{out}", out)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise Ended(Status.REJECTED, f"{one.file} leads out of its folder")
    try:
        text = take_back(path, MAX_FILE_BYTES)
        told = json.loads(text) if parted is None else None
        found = _at(told, one.key) if parted is None else _column(text, parted, one.key)
    except ValueError as error:
        said = "is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise Ended(Status.REJECTED, f"{one.file} {said}") from None
    except RecursionError:
        raise Ended(Status.REJECTED, f"{one.file} is no JSON that can be read") from None
    numbers = _numbers(found)
    if not numbers:
        told_error = told.get("error") if isinstance(told, dict) else None
        because = f": {told_error[:300]}" if isinstance(told_error, str) else ""
        raise Ended(Status.REJECTED, f"{one.file} has no number {one.key}{because}")
    return _picked(one, numbers)


def _numbers(found: Sequence[Any]) -> list[float]:
    return [
        float(value) if abs(value) < MAX_NUMBER else math.inf
        for value in found
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _column(text: str, parted: str, name: str) -> list[Any]:
    """The numbers in a column of a table, in order; empty cells and words are passed over. ValueError."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=parted))
    except csv.Error as error:
        raise ValueError(f"is no table: {error}") from None
    heads = [one.strip() for one in rows[0]] if rows else []
    if name not in heads:
        raise ValueError(f"has no column {name}; its first row: {', '.join(heads)[:200]}")
    found = list[Any]()
    for row in rows[1:]:
        try:
            found.append(float(row[heads.index(name)].replace(",", "")))
        except (ValueError, IndexError):
            continue
    return found


def _at(told: Any, key: str) -> list[Any]:
    """What stands at a dotted key, or at the same key with its dots in the name; a list's values in order.

    Without calls in calls: a file may be nested as deep as JSON can be read.
    """
    found, waiting = list[Any](), [(told, key)]
    while waiting:
        here, wanted = waiting.pop()
        if isinstance(here, list):  # of epochs, say
            waiting += [(one, wanted) for one in reversed(here)]
        elif isinstance(here, dict) and wanted in here:
            value = here[wanted]
            found += value if isinstance(value, list) else [value]
        elif isinstance(here, dict):
            head, dot, rest = wanted.partition(".")
            if dot and head in here:
                waiting.append((here[head], rest))
    return found
