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
import difflib
import re
from collections.abc import Sequence

from operators.source.knobs import Knob, sound_knobs
from population.fingerprint import parse

KNOB, OTHER = "knob", "other"
WORDS = {
    "optimiser": r"optimi[sz]er|muon|adam|sgd|momentum|weight_decay|grad",
    "schedule": r"schedule|warm_?(up|down)|cosine|anneal|decay|progress",
    "data": r"\bdata|batch|shuffl|curriculum|token",
    "architecture": r"model|attention|attend|mlp|block|embed|norm|rotary|head|layer|activat|forward|nn\.",
}
_RULE = re.compile(r"#\s*[=\-]{10,}\s*$")


def kinds_of_edit(before: str, after: str) -> tuple[str, ...]:
    """The kinds of what differs between two variants, each once, in alphabetical order."""
    found = set()
    old, new = ({one.name: one for one in sound_knobs(text)} for text in (before, after))
    if any(name in new and new[name].text != one.text for name, one in old.items()):
        found.add(KNOB)
    for source, knobs, lines in _changed(before, after):
        turned = {one.line for name, one in knobs.items() if name in old and name in new}
        places = _Places(source)
        for number in lines:
            text = source[number - 1]
            if number not in turned and text.strip() and not text.strip().startswith("#"):
                found.add(places.kind(number))
    return tuple(sorted(found))


def _changed(before: str, after: str) -> list[tuple[list[str], dict[str, Knob], list[int]]]:
    """Both sources as lines, their knobs, and the numbers of the lines that differ, from 1."""
    old, new = before.splitlines(), after.splitlines()
    changed: tuple[list[int], list[int]] = ([], [])
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            changed[0].extend(range(a + 1, b + 1))
            changed[1].extend(range(c + 1, d + 1))
    knobs = [{one.name: one for one in sound_knobs(text)} for text in (before, after)]
    return [(old, knobs[0], changed[0]), (new, knobs[1], changed[1])]


class _Places:
    """Which banner and which definition each line of a source stands under."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._titles = _titles(lines)
        self._definitions = _definitions("\n".join(lines))

    def kind(self, number: int) -> str:
        """The kind of an edit of this line."""
        hints = (self._titles[number - 1], self._definitions.get(number, ""))
        for hint in (*hints, self._lines[number - 1]):
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
    """The names of the definitions around each line."""
    names: dict[int, str] = {}
    for node in ast.walk(parse(source)):  # outer ones first
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            bases = " ".join(map(ast.unparse, node.bases)) if isinstance(node, ast.ClassDef) else ""
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                names[number] = f"{names.get(number, '')} {node.name} {bases}".strip()
    return names
