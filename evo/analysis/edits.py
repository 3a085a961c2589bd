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
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate

from evo.analysis.campaign_view import Record
from evo.analysis.effects_of_edits import paired_comparisons
from operators.registry import CONTROLS
from operators.source.compare import Matcher, unified_diff
from operators.source.knobs import sound_knobs
from operators.source.parse import lines_of
from population.archive import Objective
from population.file_set import changed_files, paths_of
from population.metrics import METRICS
from population.parsing import parse
from population.reading import source_of
from population.reading.idea_bank import BankError, BankIdea, IdeaEffect, idea_of_line, joined
from population.store import Store
from population.types import ProposalRow

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


def patch_text(
    before: str, after: str, subject: str, message: Sequence[str], at: float, file: str = FILE
) -> str:
    """The patch from one source to another; `message` lines are plain text, `at` seconds since the epoch.

    `file`: where the source lies that it applies to, if it is one file.
    """
    body = "\n".join(f"  {line}" for line in message)  # indented: no line can begin a diff
    head = (
        "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
        "From: evotrain <evotrain@localhost>\n"
        f"Date: {formatdate(at)}\n"
        f"Subject: [PATCH] {subject}\n\n{body}\n---\n"
    )
    parts = [head]
    for path, old, new in changed_files(before, after, file):
        parts.append(f"diff --git a/{path} b/{path}\n")
        names = [f"a/{path}", f"b/{path}"]
        for side, (text, word) in enumerate(((before, "new"), (after, "deleted"))):
            if path not in (paths_of(text) or (file,)):
                parts.append(f"{word} file mode 100644\n")
                names[side] = "/dev/null"
        parts += map(_ended, unified_diff(_lines(old), _lines(new), names[0], names[1]))
    return "".join(parts) + "-- \nevotrain\n"


def _lines(text: str) -> list[str]:
    """As git counts them: only a line feed ends a line."""
    return io.StringIO(text, newline="\n").readlines()


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


# -- A campaign's measured edits as lines of an idea bank.


RECOMBINED = {"merge", "revert", *CONTROLS}  # their children hold no edit of their own
PERSON = "a person"  # whoever put a variant in: a bank goes to others, without names
ID_DIGITS = 12


def bank_of(store: Store, licence: str = "") -> list[BankIdea]:
    """Every measured edit of a campaign, each once, with its effects at every rung, and the ideas that were
    transplanted, with what they did elsewhere and here. StoreError for a store without a seed.
    """
    record = Record.of(store)
    births, found = record.births(), list[BankIdea]()
    effects = _effects(record, births)
    for child, made in births.items():
        measured = effects.get(child, [])
        if not made.parents or made.operator in RECOMBINED:
            continue
        if not any(one.metric == record.objective.name for one in measured):
            continue
        known = _transplanted(store, made)
        if known is not None:
            ours = tuple(replace(one, transplant=True) for one in measured)
            found.append(replace(known, effects=(*known.effects, *ours)))
            continue
        before, after = source_of(store, made.parents[0].variant_id), source_of(store, child)
        by = PERSON if made.operator == "inject" else made.author
        found.append(BankIdea(made.idea, before, after, by, made.model, licence, tuple(measured)))
    return joined(found)


def _transplanted(store: Store, made: ProposalRow) -> BankIdea | None:
    """The bank's idea that a child tries, as the bank had it."""
    rows = store.query("SELECT origin FROM ideas WHERE id = ?", [made.idea_id])
    if not rows or rows[0][0] is None:
        return None
    try:
        return idea_of_line(rows[0][0])
    except BankError:  # a store from elsewhere may hold anything
        return None


def _effects(record: Record, births: Mapping[str, ProposalRow]) -> dict[str, list[IdeaEffect]]:
    """By child, what its edit did in each metric that the machine does not move, at each rung."""
    found: dict[str, list[IdeaEffect]] = {}
    last = {row.measurement.request.variant_id: row.measurement for row in record.rows}
    steady = [one.name for one in METRICS.values() if one.searchable and not one.timed]
    for rung in record.rungs:
        for metric in dict.fromkeys([record.objective.name, *steady]):
            beside = paired_comparisons(record.rows, births, rung, Objective(name=metric))
            for child, one in beside.items():
                run = last[child]
                found.setdefault(child, []).append(
                    IdeaEffect(
                        metric=metric,
                        rung=rung,
                        mean=one.difference,
                        n=one.n,
                        sd=one.sd,
                        scale=record.scale_in_words(rung),
                        campaign=str(record.config.get("name", "")),
                        seed=record.seed_id[:ID_DIGITS],
                        child=child[:ID_DIGITS],
                        device=run.device,
                        date=time.strftime("%Y-%m-%d", time.gmtime(run.started_at)),
                    )
                )
    return found
