"""What models put around and into the lines of an edit: fences, numbers, signs, entities, typography.

Each step takes one such dress off where it is there, and leaves other lines as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from itertools import combinations

from operators.source.blocks import Replacement

MAX_READINGS = 64  # ways to take off several dresses that are tried
_FENCE = re.compile(r"[ \t]{0,40}(`{3,}|~{3,})[^`\n]*$")
_NUMBERED = re.compile(
    r"[ \t]{0,8}[LN]?(?P<number>\d{1,5})(?P<mark>[ \t]?[|:│┃→)][ ]?|\t|[ ])(?P<rest>.*)$"
)
_BARE_NUMBER = re.compile(r"[ \t]{0,8}\d{1,5}[ \t]?[|:│┃→)]?[ \t]*$")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|#\d{2,5}|#x[0-9a-fA-F]{2,5});")
_ESCAPED = re.compile(r"\\(n|t|r|\"|'|\\)")
_SIGNS = {"n": "\n", "t": "\t", "r": "\r"}
_BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_NOTHING = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"
_TYPOGRAPHIC: dict[int, str] = {
    **{ord(one): " " for one in _BLANKS},
    **{ord(one): "" for one in _NOTHING},
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full width
    **str.maketrans({"“": '"', "”": '"', "„": '"', "‟": '"', "″": '"', "«": '"', "»": '"'}),
    **str.maketrans({"‘": "'", "’": "'", "‚": "'", "‛": "'", "′": "'"}),
    **str.maketrans({"‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-"}),
    **str.maketrans({"…": "...", "≤": "<=", "≥": ">=", "≠": "!=", "→": "->", "×": "*", "∗": "*"}),
}

Lines = tuple[str, ...]
Step = Callable[[Replacement], Replacement]


def plain_characters(text: str) -> str:
    """The text with the characters that a keyboard gives instead of those that typesetting does."""
    return text if text.isascii() else text.translate(_TYPOGRAPHIC)


def readings(edits: list[Replacement]) -> list[list[Replacement]]:
    """The edits as they are, then with one dress taken off wherever it is, then with two, and so on."""
    steps, undressed = list[Step](), edits
    for step in STEPS:
        again = [step(one) for one in undressed]
        if again != undressed or [step(one) for one in edits] != edits:
            steps.append(step)
        undressed = again
    found: list[list[Replacement]] = []
    for size in range(len(steps) + 1):
        for chosen in combinations(steps, size):
            read = edits
            for step in chosen:
                read = [step(one) for one in read]
            if read not in found:
                found.append(read)
            if len(found) == MAX_READINGS:
                return found
    return found


def rivals(edits: list[Replacement]) -> list[list[Replacement]]:
    """Other readings of edits that can be found as they are: both may be code, and mean different things."""
    found = []
    for step in (_unescaped_entities, _with_line_breaks):
        read = [step(one) for one in edits]
        if read != edits:
            found.append(read)
    return found


def _both(change: Callable[[Lines], Lines]) -> Step:
    def step(one: Replacement) -> Replacement:
        return Replacement(change(one.search), change(one.replace), one.indent, one.in_diff)

    return step


def _unfenced(lines: Lines) -> Lines:
    full = [at for at, line in enumerate(lines) if line.strip()]
    if len(full) < 2 or not (_FENCE.match(lines[full[0]]) and _FENCE.match(lines[full[-1]])):
        return lines
    return lines[full[0] + 1 : full[-1]]


def _outdented(one: Replacement) -> Replacement:
    """Without what stood before the markers too."""
    lines = [line for line in (*one.search, *one.replace) if line.strip()]
    if not one.indent or not all(line.startswith(one.indent) for line in lines):
        return one
    cut = len(one.indent)
    search, replace = (tuple(line[cut:] for line in part) for part in (one.search, one.replace))
    return Replacement(search, replace, "", one.in_diff)


def _unnumbered(lines: Lines) -> Lines:
    full = [line for line in lines if line.strip()]
    found = [_NUMBERED.match(line) for line in full]
    known = [one for one in found if one is not None]
    numbers = [int(one["number"]) for one in known]
    if not full or len(known) < len(full) or numbers != sorted(set(numbers)):
        known_or_blank = all(
            one or _BARE_NUMBER.match(line) for one, line in zip(found, full, strict=True)
        )
        if not known or not known_or_blank or numbers != sorted(set(numbers)):
            return lines
    spaced = all(one["mark"].endswith((" ", "\t")) for one in known if one["rest"])

    def bare(line: str) -> str:
        one = _NUMBERED.match(line)
        if one is None or not line.strip():
            return ""
        extra = " " if one["mark"].endswith(" ") and not spaced and len(one["mark"]) > 1 else ""
        return extra + one["rest"]

    return tuple(bare(line) for line in lines)


def _unsigned(one: Replacement) -> Replacement:
    """Without the signs of a diff: SEARCH lines that begin with a minus, REPLACE lines with a plus."""

    def signed(lines: Lines, sign: str) -> bool:
        full = [line for line in lines if line.strip()]
        return all(line[0] in (sign, " ") for line in full) and any(
            line[0] == sign for line in full
        )

    if one.in_diff or not signed(one.search, "-"):
        return one
    if any(line.strip() for line in one.replace) and not signed(one.replace, "+"):
        return one
    search, replace = (tuple(line[1:] for line in part) for part in (one.search, one.replace))
    return Replacement(search, replace, one.indent, one.in_diff)


def _unescaped_entities_of(lines: Lines) -> Lines:
    return tuple(html.unescape(line) if _ENTITY.search(line) else line for line in lines)


def _with_plain_characters(lines: Lines) -> Lines:
    return tuple(plain_characters(line) for line in lines)


def _with_line_breaks(one: Replacement) -> Replacement:
    """With escapes read once more, where an edit holds no line break but written ones."""
    if len(_full(one.search)) > 1 or len(_full(one.replace)) > 1:
        return one
    parts = [
        tuple("\n".join(_full(part)).split("\n")) if part else part
        for part in (one.search, one.replace)
    ]
    if not any("\\n" in line for part in parts for line in part):
        return one
    search, replace = (
        tuple(_ESCAPED.sub(_sign, "\n".join(part)).split("\n")) if part else part for part in parts
    )
    return Replacement(search, replace, one.indent, one.in_diff)


def _full(lines: Lines) -> list[str]:
    return [line for line in lines if line.strip()]


def _sign(found: re.Match[str]) -> str:
    return _SIGNS.get(found[1], found[1])


_unescaped_entities = _both(_unescaped_entities_of)
STEPS: tuple[Step, ...] = (
    _both(_unfenced),
    _outdented,
    _both(_unnumbered),
    _unsigned,
    _unescaped_entities,
    _with_line_breaks,
    _both(_with_plain_characters),
)
