"""A source as a row of top-level blocks: a statement each, with the comments before it."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from operators.source.compare import Matcher, Steps
from operators.source.parse import SourceError, parse, split_lines

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
            spans[-1] = (first, max(last, end), [*statements, statement])
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
