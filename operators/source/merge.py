"""Three-way merge of two sources and their ancestor: knobs by name, then blocks, then lines.

Neighbouring knob lines conflict in every merge by lines alone; that is why knobs come first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from operators.source.blocks import Block, align, join_blocks, split_blocks
from operators.source.compare import Steps
from operators.source.diff3 import merge_lines
from operators.source.knobs import sound_knobs, with_literals
from operators.source.parse import SourceError, line_end_of, parse, split_lines, unify_lines

SIDES = ("first", "second")
MAX_MERGE_STEPS = 8_000_000  # of all merges of one proposal
_LETTER, _BLOCK = 4, 400  # steps that reading a letter, and handling a block, takes


@dataclass(frozen=True, slots=True)
class Taken:
    """One thing a merge took: a knob or a block, and from which side ("both": by lines)."""

    what: str  # "knob" or "block"
    name: str
    side: str  # "first", "second" or "both"
    conflict: bool = False  # both sides changed it differently, and a side was drawn


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged source and where its changes came from."""

    source: str
    taken: tuple[Taken, ...]

    @property
    def conflicts(self) -> int:
        """How many things had to take a side at random."""
        return sum(one.conflict for one in self.taken)


def merge_sources(
    first: str,
    second: str,
    ancestor: str,
    rng: np.random.Generator,
    steps: Steps | None = None,
) -> Merged:
    """Both sides' changes since the ancestor in one source.

    What stays in conflict takes a side at random. The result may equal a side, and may not parse.
    SourceError when one does not parse, or too few steps are left for sources of this size.
    """
    texts = [unify_lines(text) for text in (first, second, ancestor)]
    steps = steps or Steps(MAX_MERGE_STEPS)
    _take(steps, _LETTER * sum(map(len, texts)))
    for text in texts:
        parse(text)
    values, taken = _knob_values(texts[0], texts[1], texts[2], rng)
    ours, theirs, old = (split_blocks(_mask(text, values)) for text in texts)
    _take(steps, _BLOCK * (len(ours) + len(theirs) + len(old)))
    source, blocks = _merge_blocks(ours, theirs, old, rng, steps)
    if line_end_of(first) == "\r\n":
        source = source.replace("\n", "\r\n")
    return Merged(source, (*taken, *blocks))


def _take(steps: Steps, wanted: int) -> None:
    if not steps.take(wanted):
        raise SourceError("the sources are too large to be merged so often")


# -- knobs -----------------------------------------------------------------------------------------


def _knob_values(
    first: str, second: str, ancestor: str, rng: np.random.Generator
) -> tuple[dict[str, str], list[Taken]]:
    """The literal each shared knob gets, and what was taken from whom."""
    ours, theirs, old = ({k.name: k for k in sound_knobs(t)} for t in (first, second, ancestor))
    values: dict[str, str] = {}
    taken: list[Taken] = []
    for name in ours:
        if name not in theirs:
            continue
        sides = (ours[name].text, theirs[name].text)
        origin = _origin(sides, old[name].text if name in old else None)
        if origin is None:
            values[name] = sides[0]
            continue
        conflict = origin == "conflict"
        side = int(rng.integers(2)) if conflict else SIDES.index(origin)
        values[name] = sides[side]
        taken.append(Taken("knob", name, SIDES[side], conflict))
    return values, taken


def _origin(sides: tuple[str, str], old: str | None) -> str | None:
    """Which side changed a text: "first", "second", "conflict", or None when they agree."""
    if sides[0] == sides[1]:
        return None
    if old is not None and sides[1] == old:
        return "first"
    if old is not None and sides[0] == old:
        return "second"
    return "conflict"


def _mask(source: str, values: dict[str, str]) -> str:
    """The source with all shared knobs at their merged value: no value is left to merge."""
    shared = {knob: values[knob.name] for knob in sound_knobs(source) if knob.name in values}
    return with_literals(source, shared)


# -- blocks ----------------------------------------------------------------------------------------


def _merge_blocks(
    first: list[Block],
    second: list[Block],
    ancestor: list[Block],
    rng: np.random.Generator,
    steps: Steps,
) -> tuple[str, list[Taken]]:
    first, second = align(first, ancestor, steps), align(second, ancestor, steps)
    ours, theirs, old = ({b.key: b for b in side} for side in (first, second, ancestor))
    merged: dict[str, Block] = {}
    taken: list[Taken] = []
    for key in dict.fromkeys([*ours, *theirs]):
        block, one = _merge_block(ours.get(key), theirs.get(key), old.get(key), rng, steps)
        if block is not None:
            merged[key] = block
        if one is not None:
            taken.append(one)
    return join_blocks(merged[key] for key in _order(first, second, ancestor, merged)), taken


def _merge_block(
    ours: Block | None,
    theirs: Block | None,
    old: Block | None,
    rng: np.random.Generator,
    steps: Steps,
) -> tuple[Block | None, Taken | None]:
    """The merged block (None: left out), and what was taken (None: nothing changed)."""
    if ours is not None and theirs is not None:
        return _merge_texts(ours, theirs, old, rng, steps)
    kept = ours if ours is not None else theirs
    if kept is None:
        return None, None
    holder, other = SIDES if ours is not None else SIDES[::-1]
    name = _short(kept.key)
    if old is None:
        return kept, Taken("block", name, holder)
    if kept.body == old.body:
        return None, Taken("block", name, other)
    if rng.integers(2):  # changed by one side, deleted by the other
        return kept, Taken("block", name, holder, conflict=True)
    return None, Taken("block", name, other, conflict=True)


def _merge_texts(
    ours: Block, theirs: Block, old: Block | None, rng: np.random.Generator, steps: Steps
) -> tuple[Block, Taken | None]:
    name, lead, body = _short(ours.key), old.lead if old else None, old.body if old else None
    lead, _, _ = _merge_text(ours.lead, theirs.lead, lead, rng, steps)
    body, side, conflict = _merge_text(ours.body, theirs.body, body, rng, steps)
    if side is None:
        return replace(ours, lead=lead), None
    return replace(ours, lead=lead, body=body), Taken("block", name, side, conflict)


def _merge_text(
    ours: str, theirs: str, old: str | None, rng: np.random.Generator, steps: Steps
) -> tuple[str, str | None, bool]:
    """Merged text, the side it came from (None: sides agree), and whether a side was drawn."""
    origin = _origin((ours, theirs), old)
    if origin is None:
        return ours, None, False
    if origin != "conflict":
        return (ours, theirs)[SIDES.index(origin)], origin, False
    side = int(rng.integers(2))
    if old is None:
        return (ours, theirs)[side], SIDES[side], True
    hunks = merge_lines(split_lines(old), split_lines(ours), split_lines(theirs), steps)
    conflict = any(hunk.conflict for hunk in hunks)
    text = "".join("".join((hunk.first, hunk.second)[side]) for hunk in hunks)
    if not _parses(text):
        return (ours, theirs)[side], SIDES[side], True
    return text, SIDES[side] if conflict else "both", conflict


def _parses(text: str) -> bool:
    try:
        parse(text)
    except SourceError:
        return False
    return True


def _order(
    first: list[Block], second: list[Block], ancestor: list[Block], merged: dict[str, Block]
) -> list[str]:
    """The merged keys: in the order of the side that moved blocks, newcomers behind forerunners."""
    ours, theirs, old = ([block.key for block in side] for side in (first, second, ancestor))
    shared = set(ours) & set(theirs) & set(old)
    moved = [key for key in ours if key in shared] != [key for key in old if key in shared]
    lead, rest = (ours, theirs) if moved else (theirs, ours)
    order = [key for key in lead if key in merged]
    following = dict(zip([None, *order], [*order, None], strict=True))
    placed, at = set(order), None
    for key in rest:
        if key not in merged:
            continue
        if key not in placed:
            following[key], following[at] = following[at], key
            placed.add(key)
        at = key
    order, here = [], following[None]
    while here is not None:
        order.append(here)
        here = following[here]
    return order


def _short(key: str) -> str:
    return key.removeprefix("def ").removesuffix(" =").split(":")[0][:60]
