"""What kind of edit made a variant: read from the lines that differ and where in the file they stand.

Rules, the first that fits, one kind for each changed place:
knob          only the literal of a knob differs
optimiser, schedule, data, architecture
              named by the banner above the place (`# Optimiser ...` between two rules of `# ===`), else by
              the class or function that it is in, else by the changed words themselves
other         everything else
"""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Sequence
from email.utils import formatdate

from operators.source.compare import Matcher, unified_diff
from operators.source.knobs import sound_knobs
from operators.source.parse import lines_of
from population.parsing import parse

KNOB, OTHER = "knob", "other"
MAX_HINT = 400  # characters of the names around a line
WORDS = {
    "optimiser": r"optimi[sz]er|muon|adam|sgd|momentum|weight_decay|grad",
    "schedule": r"schedule|warm_?(up|down)|cosine|anneal|decay|progress",
    "data": r"\bdata|batch|shuffl|curriculum|token",
    "architecture": r"model|attention|attend|mlp|block|embed|norm|rotary|head|layer|activat|forward|nn\.",
}
_RULE = re.compile(r"#\s*[=\-]{10,}\s*$")


def kinds_of_edit(before: str, after: str) -> tuple[str, ...]:
    """The kinds of what differs between two variants, each once, in alphabetical order.

    Of a source that does not parse nothing more is known than that it is another one.
    """
    found = set[str]()
    old, new = ({one.name: one for one in sound_knobs(text)} for text in (before, after))
    if any(name in new and new[name].text != one.text for name, one in old.items()):
        found.add(KNOB)
    for source, knobs, numbers in zip(
        (before, after), (old, new), _changed(before, after), strict=True
    ):
        turned = {one.line for name, one in knobs.items() if name in old and name in new}
        try:
            places = _Places(source)
        except SyntaxError:
            return (OTHER,)
        for number in numbers:
            text = places.lines[number - 1].strip()
            if number not in turned and text and not text.startswith("#"):
                found.add(places.kind(number))
    return tuple(sorted(found))


def _changed(before: str, after: str) -> tuple[list[int], list[int]]:
    """The numbers of the lines that differ in both sources, from 1."""
    changed: tuple[list[int], list[int]] = ([], [])
    for kind, a, b, c, d in Matcher(lines_of(before), lines_of(after)).get_opcodes():
        if kind != "equal":
            changed[0].extend(range(a + 1, b + 1))
            changed[1].extend(range(c + 1, d + 1))
    return changed


class _Places:
    """Which banner and which definition each line of a source stands under. SyntaxError."""

    def __init__(self, source: str) -> None:
        self.lines = lines_of(source)
        self._titles = _titles(self.lines)
        self._definitions = _definitions(source)

    def kind(self, number: int) -> str:
        """The kind of an edit of this line."""
        hints = (self._titles[number - 1], self._definitions.get(number, ""))
        for hint in (*hints, self.lines[number - 1]):
            for kind, words in WORDS.items():
                if re.search(words, hint, re.IGNORECASE):
                    return kind
        return OTHER


def _titles(lines: Sequence[str]) -> list[str]:
    """The title of the banner above each line: a comment right after a rule; "" before the first."""
    titles, title = [], ""
    for place, line in enumerate(lines):
        above = lines[place - 1] if place else ""
        if line.startswith("#") and _RULE.match(above) and not _RULE.match(line):
            title = line.strip("# ")
        titles.append("" if title.lower().startswith("knob") else title.partition(":")[0])
    return titles


def _definitions(source: str) -> dict[int, str]:
    """The names of the definitions around each line. SyntaxError."""
    names: dict[int, str] = {}
    for node in ast.walk(parse(source)):  # outer ones first
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            bases = " ".join(map(_name, node.bases)) if isinstance(node, ast.ClassDef) else ""
            said = f"{names.get(node.lineno, '')} {node.name} {bases}".strip()[-MAX_HINT:]
            names.update(dict.fromkeys(range(node.lineno, (node.end_lineno or 0) + 1), said))
    return names


def _name(base: ast.expr) -> str:
    """A base class as its names: `nn.Module`."""
    parts = list[str]()
    while isinstance(base, ast.Attribute):
        parts.append(base.attr)
        base = base.value
    return ".".join(reversed([*parts, base.id if isinstance(base, ast.Name) else ""]))


# -- A variant as a patch that `git apply` and `git am` take, with its evidence as the message.


FILE = "train.py"


def patch_text(before: str, after: str, subject: str, message: Sequence[str], at: float) -> str:
    """The patch from one source to another; `message` lines are plain text, `at` seconds since the epoch."""
    body = "\n".join(f"  {line}" for line in message)  # indented: no line can begin a diff
    head = (
        "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
        "From: evotrain <evotrain@localhost>\n"
        f"Date: {formatdate(at)}\n"
        f"Subject: [PATCH] {subject}\n\n{body}\n---\n"
        f"diff --git a/{FILE} b/{FILE}\n"
    )
    lines = unified_diff(_lines(before), _lines(after), f"a/{FILE}", f"b/{FILE}")
    return head + "".join(map(_ended, lines)) + "-- \nevotrain\n"


def _lines(text: str) -> list[str]:
    """As git counts them: only a line feed ends a line."""
    return io.StringIO(text, newline="\n").readlines()


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
