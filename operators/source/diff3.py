"""A three-way merge of two sequences of lines and their ancestor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operators.source.compare import Matcher, Steps


@dataclass(frozen=True, slots=True)
class LineEdit:
    """Ancestor lines [low, high) become `lines`."""

    low: int
    high: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hunk:
    """One place of the merge: what each side makes of it. Equal sides are no conflict."""

    first: tuple[str, ...]
    second: tuple[str, ...]

    @property
    def conflict(self) -> bool:
        """Whether the sides disagree."""
        return self.first != self.second


def edits(ancestor: Sequence[str], side: Sequence[str], steps: Steps) -> list[LineEdit]:
    """What turns the ancestor into this side, in order."""
    codes = Matcher(ancestor, side, steps).get_opcodes()
    return [LineEdit(a, b, tuple(side[c:d])) for tag, a, b, c, d in codes if tag != "equal"]


def merge_lines(
    ancestor: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    steps: Steps | None = None,
) -> list[Hunk]:
    """The merge as hunks in order; a line that only one side touched is settled.

    Edits of neighbouring lines do not conflict; edits of one line, or insertions at one place, do.
    """
    hunks: list[Hunk] = []
    at, steps = 0, steps or Steps()
    for low, high, ours, theirs in _groups(
        edits(ancestor, first, steps), edits(ancestor, second, steps)
    ):
        hunks.append(_settled(tuple(ancestor[at:low])))
        made = tuple(_region(ancestor, low, high, side) for side in (ours, theirs))
        if ours and theirs:
            hunks.append(Hunk(*made))
        else:
            hunks.append(_settled(made[0] if ours else made[1]))
        at = high
    hunks.append(_settled(tuple(ancestor[at:])))
    return [hunk for hunk in hunks if hunk.first or hunk.second]


def _settled(lines: tuple[str, ...]) -> Hunk:
    return Hunk(lines, lines)


def _groups(
    first: list[LineEdit], second: list[LineEdit]
) -> list[tuple[int, int, list[LineEdit], list[LineEdit]]]:
    """Edits of both sides, those that meet grouped: (low, high, first's edits, second's edits)."""
    waiting = sorted(
        [(edit.low, edit.high, 0, edit) for edit in first]
        + [(edit.low, edit.high, 1, edit) for edit in second],
        key=lambda item: item[:3],
    )
    groups: list[tuple[int, int, list[LineEdit], list[LineEdit]]] = []
    for low, high, side, edit in waiting:
        if groups and _meet(groups[-1], low, high, side):
            start, end, *sides = groups[-1]
            sides[side].append(edit)
            groups[-1] = (start, max(end, high), sides[0], sides[1])
        else:
            groups.append((low, high, [edit] if side == 0 else [], [edit] if side == 1 else []))
    return groups


def _meet(
    group: tuple[int, int, list[LineEdit], list[LineEdit]], low: int, high: int, side: int
) -> bool:
    """Whether an edit touches the same lines, or inserts at the same place as the other side."""
    _, end, *sides = group
    other_inserts_here = any(edit.low == edit.high == low for edit in sides[1 - side][-2:])
    return low < end or (low == high and other_inserts_here)


def _region(ancestor: Sequence[str], low: int, high: int, side: list[LineEdit]) -> tuple[str, ...]:
    """Ancestor lines [low, high) with one side's edits made."""
    lines: list[str] = []
    at = low
    for edit in side:
        lines += [*ancestor[at : edit.low], *edit.lines]
        at = edit.high
    return (*lines, *ancestor[at:high])
