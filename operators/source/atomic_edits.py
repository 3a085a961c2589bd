"""A variant's difference from the seed as edits that can be made one without another.

The difference is cut into places: lines of the seed that became others, each as small as the syntax allows
(a knob, a statement, else a run of lines). A place belongs to the step of the ancestry that brought most of its
final lines, followed line by line through every parent: what a merge, a revert or a transplant took over is
credited to where it came from. The places of one step are one edit; edits that do not stand without one another
are joined.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from operators.source.compare import Matcher, Steps
from operators.source.names import lost_attributes, undefined_names
from operators.source.parse import SourceError, parse, split_lines, unify_lines
from population.fingerprint import fingerprint

REVERT = "revert"  # the operator that brings back lines of an ancestor that is no parent


@dataclass(frozen=True, slots=True)
class AncestryStep:
    """One variant of a line of descent; `parents` without the ancestor of a merge, the first one first."""

    variant_id: str
    operator: str
    source: str
    parents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EditedPlace:
    """Lines [low, high) of the seed become `lines`; `step`: the variant whose step brought that.

    `number`: its place among all, which orders those that add lines at one spot.
    """

    number: int
    low: int
    high: int
    lines: tuple[str, ...]
    step: str


@dataclass(frozen=True, slots=True)
class AtomicEdit:
    """What is made or left out as one. `steps` brought it, in the order of the ancestry.

    `form_only`: it changes comments or layout alone, and no run can show anything of it.
    """

    steps: tuple[str, ...]
    places: tuple[EditedPlace, ...]
    form_only: bool = False


def atomic_edits(ancestry: Sequence[AncestryStep], by_place: bool = False) -> list[AtomicEdit]:
    """The edits between the first and the last of an ancestry, in its order; all of them give the last again.

    `ancestry`: the seed first, parents before their children. `by_place`: every place is an edit of its own.
    SourceError when the first or the last does not parse.
    """
    seed, last = unify_lines(ancestry[0].source), unify_lines(ancestry[-1].source)
    order = [one.variant_id for one in ancestry]
    places = _places(seed, last, _trace(ancestry), order)
    edits = [[one] for one in places]
    if not by_place:
        by_step: dict[str, list[EditedPlace]] = {}
        for one in places:
            by_step.setdefault(one.step, []).append(one)
        edits = [by_step[one] for one in order if one in by_step]
    joined = _joined(edits, seed, last)
    found = [_edit(one, order, seed, last, places) for one in joined]
    return sorted(found, key=lambda one: (order.index(one.steps[0]), one.places[0].number))


def with_edits(seed: str, edits: Collection[AtomicEdit]) -> str:
    """The seed with these edits made; LF line ends."""
    return _made(seed, [place for one in edits for place in one.places])


def _made(seed: str, places: Collection[EditedPlace]) -> str:
    lines, at, made = split_lines(unify_lines(seed)), 0, list[str]()
    for one in sorted(places, key=lambda one: one.number):
        made += [*lines[at : one.low], *one.lines]
        at = one.high
    return "".join([*made, *lines[at:]])


def _edit(
    places: Sequence[EditedPlace],
    order: Sequence[str],
    seed: str,
    last: str,
    every: Sequence[EditedPlace],
) -> AtomicEdit:
    steps = tuple(one for one in order if any(place.step == one for place in places))
    ordered = tuple(sorted(places, key=lambda one: one.number))
    rest = [one for one in every if one not in places]
    same = _form(_made(seed, places)) == _form(seed) and _form(_made(seed, rest)) == _form(last)
    return AtomicEdit(steps, ordered, same)


def _form(source: str) -> str:
    try:
        return fingerprint(source)
    except SyntaxError:
        return source


# -- Whose each line is.


@dataclass(frozen=True, slots=True)
class _Traced:
    """By line of a variant: the step that wrote it, and which line of the seed it is (None: of none).

    `removed`: by line of the seed that is gone, the step that took it out.
    """

    lines: list[str]
    born: list[str]
    of_seed: list[int | None]
    removed: dict[int, str]


def _trace(ancestry: Sequence[AncestryStep]) -> _Traced:
    """The last one's lines, followed through every step."""
    known: dict[str, _Traced] = {}
    parents: dict[str, tuple[str, ...]] = {}
    for one in ancestry:
        lines = split_lines(unify_lines(one.source))
        told = [parent for parent in one.parents if parent in known]
        if not known:
            born, places = [one.variant_id] * len(lines), list[int | None](range(len(lines)))
            known[one.variant_id] = _Traced(lines, born, places, {})
            continue
        if not told:  # of a parent that is not known: as if it came from the seed
            told = [ancestry[0].variant_id]
        if one.operator == REVERT:
            told += [above for above in _above(told[0], parents) if above not in told]
        parents[one.variant_id] = tuple(told)
        known[one.variant_id] = _child(one.variant_id, lines, [known[parent] for parent in told])
    return known[ancestry[-1].variant_id]


def _above(variant_id: str, parents: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Its ancestors along first parents, the nearest first."""
    while above := parents.get(variant_id):
        variant_id = above[0]
        yield variant_id


def _child(variant_id: str, lines: list[str], parents: Sequence[_Traced]) -> _Traced:
    born, of_seed = [""] * len(lines), list[int | None]([None] * len(lines))
    steps = Steps()
    for parent in parents:
        if all(born):
            break
        for kind, a, b, c, _ in Matcher(parent.lines, lines, steps).get_opcodes():
            for at in range(b - a) if kind == "equal" else ():
                if not born[c + at]:
                    born[c + at], of_seed[c + at] = parent.born[a + at], parent.of_seed[a + at]
    there = {one for one in of_seed if one is not None}
    seeds = {one for parent in parents for one in (*parent.of_seed, *parent.removed)}
    removed = dict[int, str]()
    for one in seeds - there - {None}:
        assert one is not None
        by = next((parent.removed[one] for parent in parents if one in parent.removed), variant_id)
        removed[one] = by
    return _Traced(lines, [one or variant_id for one in born], of_seed, removed)


# -- Where the seed and a variant differ, in the smallest pieces that the syntax allows.


@dataclass(frozen=True, slots=True)
class _Region:
    """Lines [a, b) of the seed against lines [c, d) of the variant."""

    a: int
    b: int
    c: int
    d: int


def _places(seed: str, last: str, traced: _Traced, order: Sequence[str]) -> list[EditedPlace]:
    old, new = _Text(seed), _Text(last)
    found = list[EditedPlace]()
    for kind, a, b, c, d in Matcher(old.lines, new.lines).get_opcodes():
        if kind == "equal":
            continue
        for one in _cut(_Region(a, b, c, d), old, new):
            for part, owner in _by_owner(one, old, new, traced, order):
                lines = tuple(new.lines[part.c : part.d])
                found.append(EditedPlace(len(found), part.a, part.b, lines, owner))
    return found


class _Text:
    """A source's lines, which of them are a whole assignment each, and where its statements stand."""

    def __init__(self, source: str) -> None:
        self.lines = split_lines(source)
        self.spans = list[
            tuple[int, int]
        ]()  # of statements, from 0, the end left out; outer ones first
        self.assigned = dict[
            int, str
        ]()  # by line: what a statement that is this line alone assigns to
        shared = Counter[int]()
        for node in ast.walk(parse(source)):
            if not isinstance(node, ast.stmt):
                continue
            heads = [one.lineno for one in getattr(node, "decorator_list", [])]
            start, end = min([node.lineno, *heads]) - 1, node.end_lineno or node.lineno
            self.spans.append((start, end))
            shared[start] += 1
            if end == start + 1 and isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                said = ", ".join(ast.unparse(one) for one in targets)
                self.assigned[start] = f"{' ' * node.col_offset}{said}"
        self.assigned = {at: one for at, one in self.assigned.items() if shared[at] == 1}

    def cuts(self, low: int, high: int) -> list[int]:
        """Where lines [low, high) can be cut: before each outermost statement, with the comments above it."""
        inside = [(a, b) for a, b in self.spans if low <= a and b <= high]
        across = [(a, b) for a, b in self.spans if (a < low < b or a < high < b)]
        if any(low <= a < high or low < b <= high for a, b in across):
            return []  # half of a statement: the rest of it is elsewhere
        found, at = [low], low
        for start, end in sorted(inside):
            if start >= at:
                found, at = [*found, end], end
        return [*dict.fromkeys(one for one in found if one < high), high]


def _cut(region: _Region, old: _Text, new: _Text) -> Iterator[_Region]:
    """A region cut at assignments of a line that both sides have, so that every knob is a place of its own."""
    ours = [(at, old.assigned.get(at)) for at in range(region.a, region.b)]
    theirs = [(at, new.assigned.get(at)) for at in range(region.c, region.d)]
    names = [one or f"{at}<" for at, one in ours], [one or f"{at}>" for at, one in theirs]
    a, c = region.a, region.c
    for i, j, size in Matcher(*names).get_matching_blocks():
        for k in range(size):
            yield from _some(_Region(a, region.a + i + k, c, region.c + j + k))
            a, c = region.a + i + k, region.c + j + k
            yield _Region(a, a + 1, c, c + 1)
            a, c = a + 1, c + 1
    yield from _some(_Region(a, region.b, c, region.d))


def _some(region: _Region) -> Iterator[_Region]:
    if region.a < region.b or region.c < region.d:
        yield region


def _by_owner(
    region: _Region, old: _Text, new: _Text, traced: _Traced, order: Sequence[str]
) -> list[tuple[_Region, str]]:
    """A region, cut once more where lines were only added or only taken out, by several steps."""
    if region.a == region.b:
        text, low, high = new, region.c, region.d
        parts = [_Region(region.a, region.a, c, d) for c, d in _pairs(text, low, high)]
    elif region.c == region.d:
        parts = [_Region(a, b, region.c, region.c) for a, b in _pairs(old, region.a, region.b)]
    else:
        parts = [region]
    found = list[tuple[_Region, str]]()
    for one in parts:
        owner = _owner(one, old, new, traced, order)
        if found and found[-1][1] == owner:
            before = found[-1][0]
            found[-1] = (_Region(before.a, one.b, before.c, one.d), owner)
        else:
            found.append((one, owner))
    return found


def _pairs(text: _Text, low: int, high: int) -> list[tuple[int, int]]:
    cuts = text.cuts(low, high) or [low, high]
    return list(pairwise(cuts))


def _owner(region: _Region, old: _Text, new: _Text, traced: _Traced, order: Sequence[str]) -> str:
    """The step that brought most of the lines, the later one of equals; blank lines and comments count last."""
    seed = order[0]
    said = [(new.lines[at], traced.born[at]) for at in range(region.c, region.d)]
    gone = [(old.lines[at], traced.removed.get(at, seed)) for at in range(region.a, region.b)]
    for lines in (said, gone):
        votes = Counter(by for line, by in lines if by != seed and _says_something(line))
        votes = votes or Counter(by for _, by in lines if by != seed)
        if votes:
            return max(votes, key=lambda by: (votes[by], order.index(by)))
    return order[-1]  # lines that moved: the last step is as good as any


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")


# -- Which edits stand without one another.


def _joined(edits: Sequence[list[EditedPlace]], seed: str, last: str) -> list[list[EditedPlace]]:
    """Edits joined with what they need: each can be made alone, and left out alone, as far as can be read."""
    groups = [list(one) for one in edits]
    known = undefined_names(seed) | undefined_names(last)

    def breaks(places: Sequence[EditedPlace]) -> bool:
        source = _made(seed, places)
        try:
            return bool(undefined_names(source) - known or lost_attributes(source, seed, last))
        except SourceError:
            return True

    def without(*left_out: int) -> list[EditedPlace]:
        kept = (one for at, one in enumerate(groups) if at not in left_out)
        return [place for one in kept for place in one]

    at = 0
    while at < len(groups):
        others = sorted(set(range(len(groups))) - {at}, key=lambda one: len(groups[one]))
        other = None
        if breaks(without(at)):
            other = next((one for one in others if not breaks(without(at, one))), None)
        if other is None and breaks(groups[at]):
            alone = groups[at]
            other = next((one for one in others if not breaks(alone + groups[one])), None)
            other = other if other is not None or len(groups) < 2 else others[0]
        if other is None:
            at += 1
            continue
        groups[min(at, other)] += groups[max(at, other)]
        del groups[max(at, other)]
        at = 0
    return groups
