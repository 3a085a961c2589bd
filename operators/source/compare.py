"""What differs between two sequences of lines (or letters), in a bounded number of steps.

Two short sources are compared as difflib does. A comparison that would take too many steps finds the
common beginning and end of what is left, and calls the rest changed: right, but longer than it need be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate

from population.file_set import changed_files

MAX_STEPS = 2_000_000  # about half a second


class Steps:
    """How many steps are left; several comparisons can share them."""

    def __init__(self, left: int = MAX_STEPS) -> None:
        self.left = left

    def take(self, wanted: int) -> bool:
        """Use up N steps; False, and nothing used, when fewer are left."""
        if wanted > self.left:
            return False
        self.left -= wanted
        return True


class Matcher(SequenceMatcher[str]):
    """difflib's matcher, which looks for the longest match only while there are steps left for it."""

    def __init__(
        self,
        old: Sequence[str],
        new: Sequence[str],
        steps: Steps | None = None,
        autojunk: bool = False,
    ) -> None:
        super().__init__(None, old, new, autojunk)
        self._old, self._new = old, new
        self._steps = steps or Steps()
        places = self.b2j  # type: ignore[attr-defined]  # where each line stands in `new`
        self._cost = [0, *accumulate(1 + len(places.get(one, ())) for one in old)]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """The longest match in these ranges, or what the ranges begin or end with in common."""
        ahi = len(self._old) if ahi is None else ahi
        bhi = len(self._new) if bhi is None else bhi
        if self._steps.take(self._cost[ahi] - self._cost[alo]):
            return super().find_longest_match(alo, ahi, blo, bhi)
        most, size = min(ahi - alo, bhi - blo), 0
        while size < most and self._old[alo + size] == self._new[blo + size]:
            size += 1
        if size:
            return Match(alo, blo, size)
        while size < most and self._old[ahi - 1 - size] == self._new[bhi - 1 - size]:
            size += 1
        return Match(ahi - size, bhi - size, size) if size else Match(alo, blo, 0)


def unified_diff(
    old: Sequence[str],
    new: Sequence[str],
    old_name: str = "",
    new_name: str = "",
    context: int = 3,
    end: str = "\n",
    steps: Steps | None = None,
) -> Iterator[str]:
    """The lines of a unified diff, as difflib writes them; `end` closes those that are not of a source."""
    matcher = Matcher(old, new, steps, autojunk=True)
    for number, group in enumerate(matcher.get_grouped_opcodes(context)):
        if number == 0:
            yield f"--- {old_name}{end}"
            yield f"+++ {new_name}{end}"
        (_, a, _, c, _), (_, _, b, _, d) = group[0], group[-1]
        yield f"@@ -{_range(a, b)} +{_range(c, d)} @@{end}"
        for kind, a, b, c, d in group:
            if kind == "equal":
                yield from (f" {line}" for line in old[a:b])
                continue
            yield from (f"-{line}" for line in old[a:b])
            yield from (f"+{line}" for line in new[c:d])


def source_diff(
    old: str,
    new: str,
    names: tuple[str, str],
    file: str = "",
    context: int = 3,
    steps: Steps | None = None,
) -> Iterator[str]:
    """The lines, without their ends, of the unified diffs of each file in which two sources differ.

    `names` of both sides, with {} for a file's path; `file`: the path of a source that is one file.
    """
    for path, before, after in changed_files(old, new, file):
        first, second = (one.replace("{}", path).strip() for one in names)
        sides = before.splitlines(), after.splitlines()
        yield from unified_diff(*sides, first, second, context, "", steps)


def _range(start: int, stop: int) -> str:
    """Lines [start, stop) in the words of a unified diff, which counts from 1."""
    if stop - start == 1:
        return f"{start + 1}"
    return f"{start + (stop > start)},{stop - start}"
