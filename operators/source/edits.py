"""Turn a model's reply into a source: SEARCH/REPLACE blocks, or a whole file in a fenced block."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from operators.source.compare import Steps
from operators.source.parse import SourceError, line_end_of, parse, unify_lines

MAX_REPLY_CHARS = 400_000
_MAX_FENCES = 60  # fence lines looked at in one reply
_MAX_PARSES = 40  # candidates for the whole file tried, longest first
_MAX_PARSED_CHARS = 1_000_000  # of all of them
_CHARS_A_STEP = 10_000  # compared by a regular expression in the time of a step
_SEARCH = re.compile(r"\s{0,3}<{5,9} ?SEARCH\b.*$")
_DIVIDER = re.compile(r"\s{0,3}={5,9}\s*$")
_REPLACE = re.compile(r"\s{0,3}>{5,9} ?REPLACE\b.*$")
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})\s*([\w+.-]*)\s*$")


class EditError(ValueError):
    """The reply gives no new source; the message is one sentence for the model and for people."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Lines to find and the lines to put there."""

    search: tuple[str, ...]
    replace: tuple[str, ...]


def apply_reply(parent_source: str, reply: str) -> str:
    """The child's source. Raises EditError: no block, text not found or found n times, no change,
    or a result that does not parse. Line ends stay the parent's."""
    if len(reply) > MAX_REPLY_CHARS:
        raise EditError(f"the reply has {len(reply)} characters, more than {MAX_REPLY_CHARS}")
    parent, reply = unify_lines(parent_source), unify_lines(reply)
    replacements = read_replacements(reply)
    if replacements:
        child, steps = parent, Steps()
        for number, replacement in enumerate(replacements, 1):
            label = f"edit {number} of {len(replacements)}"
            child = _apply(child, replacement, label, steps)
    else:
        child = _whole_file(parent, reply)
    if child == parent:
        raise EditError("the reply changes nothing")
    try:
        parse(child)
    except SourceError as error:
        raise EditError(f"the result does not parse: {error}") from None
    return child.replace("\n", "\r\n") if line_end_of(parent_source) == "\r\n" else child


def read_replacements(reply: str) -> list[Replacement]:
    """The SEARCH/REPLACE blocks of a reply with LF line ends. Raises EditError for a torn one."""
    found: list[Replacement] = []
    search: list[str] = []
    replace: list[str] = []
    part: list[str] | None = None
    for line in reply.split("\n"):
        if _SEARCH.match(line) and part is None:
            search, replace = [], []
            part = search
        elif part is search and part is not None and _DIVIDER.match(line):
            part = replace
        elif part is replace and part is not None and _REPLACE.match(line):
            found.append(Replacement(tuple(search), tuple(replace)))
            part = None
        elif part is not None:
            part.append(line)
    if part is not None:
        missing = "`=======`" if part is search else "`>>>>>>> REPLACE`"
        raise EditError(f"SEARCH/REPLACE block {len(found) + 1} is not finished: no {missing} line")
    return found


# -- one replacement ---------------------------


def _apply(source: str, replacement: Replacement, label: str, steps: Steps) -> str:
    """One replacement made: on exact lines, else alike but for spaces, else within a line."""
    if not "".join(replacement.search).strip():
        raise EditError(f"{label}: its SEARCH text is empty")
    lines = source.split("\n")
    for same, trim in ((_exact, False), (_exact, True), (_alike, True)):
        search = _trimmed(replacement.search) if trim else replacement.search
        places = _places(lines, search, same, steps)
        if len(places) > 1:
            raise EditError(f"{label}: its SEARCH text is found {len(places)} times: add lines")
        if places:
            new = _trimmed(replacement.replace) if trim else replacement.replace
            at, found = places[0], lines[places[0] : places[0] + len(search)]
            return "\n".join(
                [*lines[:at], *_reindent(new, search, found), *lines[at + len(search) :]]
            )
    return _apply_within_line(source, replacement, label, steps)


def _apply_within_line(source: str, replacement: Replacement, label: str, steps: Steps) -> str:
    """A SEARCH text that is part of a line (its comment left out, say), at the edges of words."""
    text = "\n".join(_trimmed(replacement.search)).strip()
    _count(steps, len(source) * len(text) // _CHARS_A_STEP)
    edges = re.compile(r"(?<![\w.])" + re.escape(text) + r"(?![\w.])")
    places = [match.span() for match in edges.finditer(source)]
    if len(places) > 1:
        raise EditError(f"{label}: its SEARCH text is found {len(places)} times: add lines")
    if not places:
        shown = text.split("\n")[0].strip()[:80]
        raise EditError(f"{label}: its SEARCH text is not in the file (it begins with {shown!r})")
    start, end = places[0]
    return source[:start] + "\n".join(_trimmed(replacement.replace)).strip() + source[end:]


def _places(
    lines: list[str], search: tuple[str, ...], same: Callable[[str, str], bool], steps: Steps
) -> list[int]:
    width = len(search)
    _count(steps, len(lines))
    starts = [at for at in range(len(lines) - width + 1) if same(lines[at], search[0])]
    _count(steps, len(starts) * width)
    pairs = range(1, width)
    return [at for at in starts if all(same(lines[at + k], search[k]) for k in pairs)]


def _count(steps: Steps, wanted: int) -> None:
    if not steps.take(wanted):
        raise EditError(
            "the edits take too long to find: give fewer, with SEARCH texts of few lines"
        )


def _exact(a: str, b: str) -> bool:
    return a == b


def _alike(a: str, b: str) -> bool:
    return a.split() == b.split()


def _trimmed(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Without the blank lines at both ends."""
    full = [at for at, line in enumerate(lines) if line.strip()]
    return lines[full[0] : full[-1] + 1] if full else ()


def _reindent(new: tuple[str, ...], search: tuple[str, ...], found: list[str]) -> list[str]:
    """The new lines, moved right or left as the found lines stand to the SEARCH lines."""
    asked, there = _indent(search[0]), _indent(found[0])
    if asked == there:
        return list(new)
    moved = [there + line[len(asked) :] if line.startswith(asked) else line for line in new]
    return [line if line.strip() else "" for line in moved]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


# -- a whole file ---------------------------


def _whole_file(parent: str, reply: str) -> str:
    """The longest fenced text that parses: fences inside the file's own strings do no harm."""
    candidates = _fenced(reply.split("\n"))
    if not candidates:
        raise EditError("no SEARCH/REPLACE block and no whole file in a fenced block was found")
    reason = ""
    left = _MAX_PARSED_CHARS
    for text in candidates[:_MAX_PARSES]:
        left -= len(text)
        if left < 0:
            break
        try:
            parse(text)
        except SourceError as error:
            reason = reason or f"the fenced block does not parse: {error}"
            continue
        if "harness" in parent and "harness" not in text:
            raise EditError("the fenced block is not a whole train.py: it never names `harness`")
        return text
    raise EditError(reason or "the fenced blocks are too long to try")


def _fenced(lines: list[str]) -> list[str]:
    """Every text between an opening fence and a later closing one, longest first."""
    fences = [(at, match) for at, line in enumerate(lines) if (match := _FENCE.match(line))]
    fences = fences[:_MAX_FENCES]
    spans = [
        (start, end)
        for index, (start, opening) in enumerate(fences)
        for end, closing in fences[index + 1 :]
        if closing[1].startswith(opening[1]) and not closing[2] and end > start + 1
    ]
    spans.sort(key=lambda span: span[0] - span[1])
    return ["\n".join(lines[start + 1 : end]) + "\n" for start, end in spans]
