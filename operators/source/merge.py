"""Three-way merge of two sources and their ancestor: knobs by name, then blocks, then lines.

Neighbouring knob lines conflict in every merge by lines alone; that is why knobs come first.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from operators.source.compare import Matcher, Steps
from operators.source.knobs import sound_knobs, with_literals
from operators.source.parse import SourceError, line_end_of, parse, split_lines, unify_lines
from population.file_set import is_python, join_files, split_files

SIDES = ("first", "second")
MAX_MERGE_STEPS = 4_000_000  # of all merges of one proposal; one of the quickstart takes 270,000
MERGES_READ = 3  # of the largest sources at least so many merges are made
_LETTER, _BLOCK = 4, 400  # steps that reading a letter, and handling a block, takes


@dataclass(frozen=True, slots=True)
class Taken:
    """One thing a merge took: a knob or a block, and from which side ("both": by lines)."""

    what: str  # "knob", "block" or "file"
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


def steps_for(*sources: str) -> Steps:
    """The steps for all merges of one proposal about sources of this size: they are read a few times over."""
    return Steps(MAX_MERGE_STEPS + MERGES_READ * _LETTER * sum(map(len, sources)))


def merge_sources(
    first: str,
    second: str,
    ancestor: str,
    rng: np.random.Generator,
    steps: Steps | None = None,
    join_insertions: bool = False,
) -> Merged:
    """Both sides' changes since the ancestor in one source.

    What stays in conflict takes a side at random. The result may equal a side, and may not parse.
    `join_insertions`: lines that both sides put into one place are all kept, the first side's above; most of
    what two edits of one class do is such, and no conflict of meaning. Several files are merged one by one.
    SourceError when one does not parse, or too few steps are left for sources of this size.
    """
    texts = [unify_lines(text) for text in (first, second, ancestor)]
    steps = steps or Steps(MAX_MERGE_STEPS)
    files = [split_files(text) for text in texts]
    if any(files):
        return _merge_files(files[0], files[1], files[2], rng, steps, join_insertions)
    _take(steps, _LETTER * sum(map(len, texts)))
    for text in texts:
        parse(text)
    values, taken = _knob_values(texts[0], texts[1], texts[2], rng)
    ours, theirs, old = (split_blocks(_mask(text, values)) for text in texts)
    _take(steps, _BLOCK * (len(ours) + len(theirs) + len(old)))
    source, blocks = _merge_blocks(ours, theirs, old, rng, steps, join_insertions)
    if line_end_of(first) == "\r\n":
        source = source.replace("\n", "\r\n")
    return Merged(source, (*taken, *blocks))


def _merge_files(
    first: Mapping[str, str],
    second: Mapping[str, str],
    ancestor: Mapping[str, str],
    rng: np.random.Generator,
    steps: Steps,
    join: bool,
) -> Merged:
    """File by file; one that a single side changed, added or left out is taken as it is there."""
    if not (first and second and ancestor):
        raise SourceError("the sides consist of different files")
    merged, taken = dict[str, str](), list[Taken]()
    for path in dict.fromkeys((*first, *second)):
        both, base = (first.get(path), second.get(path)), ancestor.get(path)
        if None in (*both, base) and both[0] != both[1]:
            side = both.index(base) ^ 1 if base in both else int(rng.integers(2))
            taken.append(Taken("file", path, SIDES[side], conflict=base not in both))
            if (chosen := both[side]) is not None:
                merged[path] = chosen
            continue
        ours, theirs, old = both[0] or "", both[1] or "", base or ""
        origin = _origin((ours, theirs), old)
        if origin is None:
            merged[path] = ours
        elif origin != "conflict":
            merged[path] = (ours, theirs)[SIDES.index(origin)]
            taken.append(Taken("file", path, origin))
        elif is_python(path):
            found = merge_sources(ours, theirs, old, rng, steps, join)
            merged[path] = found.source
            taken += [replace(one, name=f"{path}: {one.name}") for one in found.taken]
        else:
            _take(steps, _LETTER * (len(ours) + len(theirs) + len(old)))
            text, conflict, side = _joined_lines(ours, theirs, old, rng, steps, join)
            merged[path] = text
            taken.append(Taken("file", path, SIDES[side] if conflict else "both", conflict))
    return Merged(join_files(merged), tuple(taken))


def _joined_lines(
    ours: str, theirs: str, old: str, rng: np.random.Generator, steps: Steps, join: bool
) -> tuple[str, bool, int]:
    """Both sides' lines; whether some were in conflict, and the side that was drawn for those."""
    side = int(rng.integers(2))
    hunks = merge_lines(split_lines(old), split_lines(ours), split_lines(theirs), steps)
    if join:
        hunks = [one.joined() if one.inserted else one for one in hunks]
    text = "".join("".join((hunk.first, hunk.second)[side]) for hunk in hunks)
    return text, any(hunk.conflict for hunk in hunks), side


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
    join: bool,
) -> tuple[str, list[Taken]]:
    first, second = align(first, ancestor, steps), align(second, ancestor, steps)
    ours, theirs, old = ({b.key: b for b in side} for side in (first, second, ancestor))
    merged: dict[str, Block] = {}
    taken: list[Taken] = []
    for key in dict.fromkeys([*ours, *theirs]):
        block, one = _merge_block(ours.get(key), theirs.get(key), old.get(key), rng, steps, join)
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
    join: bool,
) -> tuple[Block | None, Taken | None]:
    """The merged block (None: left out), and what was taken (None: nothing changed)."""
    if ours is not None and theirs is not None:
        return _merge_texts(ours, theirs, old, rng, steps, join)
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
    ours: Block,
    theirs: Block,
    old: Block | None,
    rng: np.random.Generator,
    steps: Steps,
    join: bool,
) -> tuple[Block, Taken | None]:
    name, lead, body = _short(ours.key), old.lead if old else None, old.body if old else None
    lead, _, _ = _merge_text(ours.lead, theirs.lead, lead, rng, steps, join)
    body, side, conflict = _merge_text(ours.body, theirs.body, body, rng, steps, join)
    if side is None:
        return replace(ours, lead=lead), None
    return replace(ours, lead=lead, body=body), Taken("block", name, side, conflict)


def _merge_text(
    ours: str,
    theirs: str,
    old: str | None,
    rng: np.random.Generator,
    steps: Steps,
    join: bool,
) -> tuple[str, str | None, bool]:
    """Merged text, the side it came from (None: sides agree), and whether a side was drawn."""
    origin = _origin((ours, theirs), old)
    if origin is None:
        return ours, None, False
    if origin != "conflict":
        return (ours, theirs)[SIDES.index(origin)], origin, False
    if old is None:
        side = int(rng.integers(2))
        return (ours, theirs)[side], SIDES[side], True
    text, conflict, side = _joined_lines(ours, theirs, old, rng, steps, join)
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


# -- A three-way merge of two sequences of lines and their ancestor.


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
    inserted: bool = False  # both sides put lines here, and nothing of the ancestor stood here

    def joined(self) -> Hunk:
        """Both sides' lines, once where they are the same."""
        return self if not self.conflict else _settled((*self.first, *self.second))

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
            hunks.append(Hunk(made[0], made[1], low == high))
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


# -- A source as a row of top-level blocks: a statement each, with the comments before it.


END = "end of file"
_PAIR = 200  # steps that beginning to compare two statements takes
_ALIKE = 0.5  # nameless statements this similar count as the same statement, changed


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines: `lead` (comments, blank lines) and `body`. Joined, they are the source."""

    key: str  # unique in its source, e.g. "def Model", "WARMUP =", "while #0"
    sort: str  # the key without its counter for nameless statements; "" for named ones
    lead: str
    body: str


def split_blocks(source: str) -> list[Block]:
    """The blocks in order; the last one (`END`) carries what follows the last statement."""
    lines, at, seen = split_lines(source), 0, Counter[str]()
    blocks: list[Block] = []
    for start, end, statements in _spans(parse(source).body):
        name, named = _name(statements)
        seen[name] += 1
        key = name if named and seen[name] == 1 else f"{name} #{seen[name]}"
        lead, body = "".join(lines[at:start]), "".join(lines[start:end])
        blocks.append(Block(key, "" if named else name, lead, body))
        at = end
    return [*blocks, Block(END, "", "".join(lines[at:]), "")]


def join_blocks(blocks: Iterable[Block]) -> str:
    """The source again."""
    return "".join(block.lead + block.body for block in blocks)


def align(blocks: list[Block], ancestor: list[Block], steps: Steps) -> list[Block]:
    """The blocks with nameless statements keyed as the ancestor's statements they came from.

    Unchanged ones are found first; changed ones are looked for while there are steps left.
    """
    same: defaultdict[tuple[str, str], deque[Block]] = defaultdict(deque)
    for old in ancestor:
        if old.sort:
            same[old.sort, old.body].append(old)
    keys: dict[str, str] = {}
    changed = list[Block]()
    for block in blocks:
        if block.sort and same[block.sort, block.body]:
            keys[block.key] = same[block.sort, block.body].popleft().key
        elif block.sort:
            changed.append(block)
    unchanged = set(keys.values())
    rest = {block.key: block for block in ancestor if block.sort and block.key not in unchanged}
    for block in changed:
        found = _changed_from(block, rest.values(), steps)
        if found is not None:
            keys[block.key] = found.key
            del rest[found.key]
    taken = {block.key for block in ancestor}
    return [_keyed(block, keys, taken) for block in blocks]


def _changed_from(block: Block, among: Iterable[Block], steps: Steps) -> Block | None:
    """The first statement that is much like this one."""
    for old in among:
        if not steps.take(_PAIR + len(old.body) + len(block.body)):
            return None
        if old.sort == block.sort and _likeness(old.body, block.body, steps) >= _ALIKE:
            return old
    return None


def _keyed(block: Block, keys: dict[str, str], taken: set[str]) -> Block:
    if not block.sort:
        return block
    fresh = f"{block.sort}: {block.body}" if block.key in taken else block.key
    return replace(block, key=keys.get(block.key, fresh))


def _likeness(old: str, new: str, steps: Steps) -> float:
    lines = Matcher(old.splitlines(), new.splitlines(), steps).ratio()
    if lines >= _ALIKE or max(len(old), len(new)) > 2000:
        return lines
    return Matcher(old, new, steps).ratio()


def _spans(body: list[ast.stmt]) -> list[tuple[int, int, list[ast.stmt]]]:
    """Line spans [start, end) from 0; statements that share a line share a span."""
    spans: list[tuple[int, int, list[ast.stmt]]] = []
    for statement in body:
        decorators = getattr(statement, "decorator_list", [])
        start = min([statement.lineno, *(node.lineno for node in decorators)]) - 1
        end = statement.end_lineno or statement.lineno
        if spans and start < spans[-1][1]:
            first, last, statements = spans[-1]
            statements.append(statement)  # in place: a line can hold thousands
            spans[-1] = (first, max(last, end), statements)
        else:
            spans.append((start, end, [statement]))
    return spans


def _name(statements: list[ast.stmt]) -> tuple[str, bool]:
    """What a block is called, and whether that is a name of its own."""
    names = [_statement_name(statement) for statement in statements]
    return "; ".join(name for name, _ in names), all(named for _, named in names)


def _statement_name(statement: ast.stmt) -> tuple[str, bool]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return f"def {statement.name}", True
    if isinstance(statement, ast.Assign):
        return ", ".join(map(_written, statement.targets)) + " =", True
    if isinstance(statement, ast.AnnAssign):
        return f"{_written(statement.target)} =", True
    if isinstance(statement, ast.Import):
        return "import " + ", ".join(alias.asname or alias.name for alias in statement.names), True
    if isinstance(statement, ast.ImportFrom):
        return f"from {'.' * statement.level}{statement.module or ''}", True
    return type(statement).__name__.lower(), False


def _written(node: ast.expr) -> str:
    try:
        return ast.unparse(node)
    except (ValueError, RecursionError) as error:  # a whole number of too many digits, say
        raise SourceError(f"line {node.lineno}: cannot be written: {error}") from None
