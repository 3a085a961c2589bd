"""The table of attempts that people write beside such a loop, read by inference: what was inferred is told."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from population.archive import Direction

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")  # where there is no header
MAX_COLUMNS = 64
_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")
_NAME = re.compile(r"\w[\w.#/:@+ -]{0,79}")
_MISSING = {"", "-", "--", "n/a", "na", "none", "null", "nan", "?", "–", "—"}
_IDS: tuple[str, ...] = (
    "commit",
    "hash",
    "sha",
    "commit_hash",
    "git_commit",
    "id",
    "config_id",
    "run_id",
    "run",
)
_IDS += ("experiment", "exp", "exp_id", "iteration", "iter", "trial", "name", "#")
_STATUSES = ("status", "outcome", "result", "decision", "verdict", "kept", "keep")
_WORDS: tuple[str, ...] = (
    "description",
    "desc",
    "idea",
    "change",
    "changes",
    "hypothesis",
    "notes",
    "note",
)
_WORDS += ("comment", "summary", "what")
# names of what an attempt costs or is, rather than of how good it is
_COSTS = re.compile(
    r"mem|vram|_gb$|_mb$|sec|time|minutes|step|param|mfu|tokens?_(m|k)|depth|epoch|seed|"
    r"lines|date|thread|batch|flop|cost|usd|^n_|^num_|^#$"
)
_HIGHER = re.compile(
    r"acc|auc|f1|r2|score|reward|precision|recall|map|bleu|rouge|win|per_sec|/s$|speed|throughput|fps"
)
_MEMORY = {"gb": 1024.0, "mb": 1.0, "gib": 1024.0, "mib": 1.0}  # MB
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_AT_THE_END = re.compile(
    r"(?P<name>[A-Za-z]\w*)[ =:]+(?P<number>[-+$]?[\d.,]*\d(?:e-?\d+)?%?)\s*\)?\Z"
)


class ImportFailure(Exception):
    """A history cannot be imported; the message says what is wrong and what is expected."""


class Reported(StrEnum):
    """The outcome of an attempt as a table has it, in other words too."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"


_SAID: dict[Reported, str] = {
    Reported.KEEP: "keep kept accept accepted pass passed baseline improved improvement better best "
    "new_best success win yes true support supported adopt adopted merged",
    Reported.DISCARD: "discard discarded revert reverted reject rejected worse no false tentative partial "
    "neutral repair kill killed drop dropped regression regressed refuted inconclusive tie skip skipped",
    Reported.CRASH: "crash crashed error invalid oom timeout timed_out diverged nan broken exception",
}
_CLASS = {word: status for status, words in _SAID.items() for word in words.split()}
_RAN = {
    "ok",
    "done",
    "finished",
    "completed",
    "complete",
    "valid",
}  # whether it was kept is not said
_FAILED = {"fail", "failed"}  # without a number a crash, with one a discard


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a person says of a table, over what would be inferred."""

    metric: str | None = None
    goal: Direction | None = None
    baseline: str | None = None  # the name or commit of the run that all began with


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt. `value` of the metric, 0 for a crash; `memory_mb` 0 where it is not said."""

    line: int
    commit: str  # or the name it has instead, with which no source is found
    value: float
    memory_mb: float
    status: Reported
    description: str
    more: Mapping[str, float] = field(default_factory=dict)  # other columns of numbers


@dataclass(frozen=True, slots=True)
class Results:
    """The rows that parse, in order, how they were read, and one sentence for each line that does not."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    metric: str = "val_bpb"
    direction: Direction = Direction.MINIMISE
    inferred: tuple[str, ...] = ()
    baseline: int = 0  # the number of the row that all began with


def read_results(text: str, name: str, asked: Overrides = Overrides()) -> Results:
    """The rows of a table called `name`. ImportFailure when no column of numbers is in it."""
    lines = text.removeprefix("\ufeff").splitlines()
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not filled:
        raise ImportFailure(f"{name}: it is empty")
    mark = max("\t,|;", key=lambda one: (filled[0][1].count(one), one == "\t"))
    head = _cells(filled[0][1], mark, MAX_COLUMNS)
    has_header = not any(_number(cell) is not None for cell in head)
    columns = [one.lower() for one in head] if has_header else _unnamed(len(head))
    if len(set(columns)) < len(columns):
        raise ImportFailure(f"{name}: a column stands twice in the header")
    table: list[tuple[int, list[str]]] = []
    problems: list[str] = []
    for number, line in filled[has_header:]:
        cells = _cells(line, mark, len(columns))
        if set("".join(cells)) <= set("-: "):  # the rule under the header of a Markdown table
            continue
        if len(cells) == len(columns):
            table.append((number, cells))
        else:
            said = f"it has {len(cells)} of {len(columns)} cells"
            problems.append(f"{name} line {number}: {said}; left out")
    return _read(table, columns, name, asked, problems)


def read_subjects(
    subjects: Sequence[tuple[str, str]], asked: Overrides = Overrides()
) -> Results | None:
    """Commits (hash, subject), oldest first, whose subjects end with a number; None where few do."""
    found = [(hash, subject, _AT_THE_END.search(subject)) for hash, subject in subjects]
    names = Counter(one["name"].lower() for _, _, one in found if one)
    metric = asked.metric or next((name for name, often in names.most_common(1) if often > 1), None)
    if metric is None:
        return None
    table = [
        (number, [hash, one["number"], subject])
        for number, (hash, subject, one) in enumerate(found, 1)
        if one and one["name"].lower() == metric.lower()
    ]
    columns = ["commit", metric.lower(), "description"]
    return _read(table, columns, "commit subjects", asked, []) if table else None


def _read(
    table: list[tuple[int, list[str]]],
    columns: list[str],
    name: str,
    asked: Overrides,
    problems: list[str],
) -> Results:
    if not table:
        raise ImportFailure("\n".join([f"{name}: no row can be imported", *problems[:5]]))
    by_column = {one: [cells[at] for _, cells in table] for at, one in enumerate(columns)}
    id = _named(_IDS, columns) or next(
        (one for one in columns if all(map(_COMMIT.fullmatch, by_column[one]))), columns[0]
    )
    status = _named(_STATUSES, columns) or next(
        (one for one in columns if one != id and _are_statuses(by_column[one])), ""
    )
    if status and not _are_statuses(by_column[status]):
        status = ""
    words = _named(_WORDS, [one for one in columns if one not in (id, status)])
    numeric = [
        one
        for one in columns
        if one not in (id, status, words)
        and any(_number(cell) is not None for cell in by_column[one])
    ]
    metric = _metric(numeric, columns, name, asked)
    if not words:
        texts = [one for one in columns if one not in (id, status, *numeric)]
        words = max(texts, key=lambda one: sum(map(len, by_column[one])), default="")
    roles = _Roles(id, metric, status, words, tuple(one for one in numeric if one != metric))
    drafts: list[Row] = []
    undecided: list[int] = []
    for number, cells in table:
        try:
            row, is_said = _row(dict(zip(columns, cells, strict=True)), number, roles)
        except ValueError as error:
            problems.append(f"{name} line {number}: {error}; left out")
            continue
        if not is_said:
            undecided.append(len(drafts))
        drafts.append(row)
    direction, why = _direction(drafts, undecided, roles.metric, asked.goal)
    rows = _decided(drafts, undecided, direction)
    rest = f"; also {', '.join(roles.more)}" if roles.more else ""
    better = "lower" if direction is Direction.MINIMISE else "higher"
    inferred = [
        f"{name}: {roles.metric} by {roles.id}, {better} is better ({why}); outcome: "
        f"{roles.status or 'not said: an attempt better than all before is a keep'}{rest}"
    ]
    if problems:
        inferred.append(f"{len(problems)} of {len(rows) + len(problems)} rows left out")
    base = _baseline(rows, asked.baseline)
    return Results(
        tuple(rows), tuple(sorted(problems, key=_line)), metric, direction, tuple(inferred), base
    )


@dataclass(frozen=True, slots=True)
class _Roles:
    """Which column says what; "" for none."""

    id: str
    metric: str
    status: str
    words: str
    more: tuple[str, ...]


def _metric(numeric: list[str], columns: list[str], name: str, asked: Overrides) -> str:
    if asked.metric is not None:
        if asked.metric.lower() not in columns:
            raise ImportFailure(
                f"{name}: there is no column {asked.metric!r}; columns: {', '.join(columns)}"
            )
        return asked.metric.lower()
    goals = [one for one in numeric if not _COSTS.search(one)] or numeric
    if not goals:
        raise ImportFailure(f"{name}: no column holds numbers; columns: {', '.join(columns)}")
    return goals[0]


_STANDS_FOR_NONE = re.compile(r"-9{3,}(?:\.0*)?")


def _row(cells: Mapping[str, str], line: int, roles: _Roles) -> tuple[Row, bool]:
    """A row, and whether it says if it was kept. ValueError."""
    id, words = cells[roles.id], cells.get(roles.words, "")
    if id.lower() in _MISSING:
        id = f"row {line}"
    if not _NAME.fullmatch(id):
        raise ValueError(f"{id!r} is neither a commit nor a name")
    value = _number(cells[roles.metric])
    said = cells.get(roles.status, "").strip("[]*_`: ").lower().replace(" ", "_")
    if not roles.status:
        said = next((one for one in re.findall(r"[a-z]+", words.lower()) if one in _CLASS), "ok")
    status = _status(said, value is not None)
    if status is not Reported.KEEP and _STANDS_FOR_NONE.fullmatch(cells[roles.metric].strip()):
        status = Reported.CRASH  # as those write it whose table wants a number
    if status is Reported.CRASH:
        value = 0.0
    elif value is None:
        raise ValueError(f"{roles.metric} {cells[roles.metric]!r} is not a number")
    elif not value:
        raise ValueError(f"{roles.metric} is 0, as for a crash, but its status is {said}")
    more = {one: number for one in roles.more if (number := _number(cells[one])) is not None}
    memory = 0.0
    for one in list(more):
        unit = re.search(r"(?:mem|vram).*?_?(gi?b|mi?b)\Z", one)
        if unit and not memory:
            memory = more.pop(one) * _MEMORY[unit[1]]
    plain = {re.sub(r"\W+", "_", one).strip("_"): number for one, number in more.items()}
    commit = id.lower() if _COMMIT.fullmatch(id) else id
    return Row(line, commit, value, memory, status or Reported.DISCARD, words, plain), bool(status)


def _status(said: str, has_number: bool) -> Reported | None:
    """The outcome that a word stands for; None for one that does not say whether it was kept. ValueError."""
    if said in _FAILED:
        return Reported.DISCARD if has_number else Reported.CRASH
    if said in _RAN:
        return None if has_number else Reported.CRASH
    if said not in _CLASS:
        raise ValueError(f"status {said!r} is none of {', '.join(Reported)}, nor a word for one")
    return _CLASS[said]


def _direction(
    rows: Sequence[Row], undecided: Sequence[int], metric: str, goal: Direction | None
) -> tuple[Direction, str]:
    """Which way is better, and why: as asked, as the keeps go, or as the name says."""
    if goal is not None:
        return goal, "as asked"
    lower, base = 0, None
    left_out = set(undecided)
    for number, row in enumerate(rows):
        if row.status is Reported.CRASH or number in left_out:
            continue
        if base is not None and row.value != base:
            falls = row.value < base
            lower += 1 if falls == (row.status is Reported.KEEP) else -1
        base = row.value if row.status is Reported.KEEP else base
    if lower:
        return (Direction.MINIMISE if lower > 0 else Direction.MAXIMISE), "as the keeps go"
    by_name = Direction.MAXIMISE if _HIGHER.search(metric) else Direction.MINIMISE
    return by_name, "by its name"


def _decided(rows: list[Row], undecided: Sequence[int], direction: Direction) -> list[Row]:
    """The rows, with an attempt that does not say so kept when it is better than all before it."""
    sign = 1 if direction is Direction.MINIMISE else -1
    best, open_ = math.inf, set(undecided)
    found = []
    for number, row in enumerate(rows):
        if row.status is not Reported.CRASH:
            if number in open_ and sign * row.value < best:
                row = Row(
                    row.line, row.commit, row.value, row.memory_mb, Reported.KEEP,
                    row.description, row.more,
                )  # fmt: skip
            best = min(best, sign * row.value)
        found.append(row)
    return found


def _baseline(rows: Sequence[Row], named: str | None) -> int:
    """Which row everything hangs from: the named one, the first keep, the first that ended well, the first."""
    if named is not None:
        wanted = named.lower()
        for number, row in enumerate(rows):
            if row.commit.lower() == wanted or (
                len(wanted) >= 4
                and (row.commit.startswith(wanted) or wanted.startswith(row.commit))
            ):
                return number
        raise ImportFailure(f"--baseline {named}: no row has this commit or name")
    for status in (Reported.KEEP, Reported.DISCARD):
        for number, row in enumerate(rows):
            if row.status is status:
                return number
    return 0


def _named(names: Sequence[str], columns: Sequence[str]) -> str:
    return next((one for one in names if one in columns), "")


def _are_statuses(cells: Sequence[str]) -> bool:
    known = _CLASS.keys() | _RAN | _FAILED
    said = [one.strip("[]*_`: ").lower().replace(" ", "_") for one in cells]
    return sum(one in known for one in said) * 2 > len(said)


def _unnamed(count: int) -> list[str]:
    """Names for columns without a header: autoresearch's own where there are as many."""
    if count == len(COLUMNS):
        return list(COLUMNS)
    return [COLUMNS[0], "score", *(f"column_{number}" for number in range(3, count + 1))][:count]


def _cells(line: str, mark: str, most: int) -> list[str]:
    """At most `most` cells; a mark within the last one belongs to it."""
    if mark == ",":
        found = next(csv.reader([line]), [])
        found = [*found[: most - 1], ",".join(found[most - 1 :])] if len(found) > most else found
    else:
        line = line.strip().strip("|") if mark == "|" else line
        found = line.split(mark, most - 1)
    return [one.strip() for one in found]


def _number(text: str) -> float | None:
    """A finite number, a currency, thousands' commas and a per cent sign left out; None for another text."""
    bare = text.strip().strip("*~$€£% ").replace(",", "")
    if text.strip().lower() in _MISSING or not _NUMBER.fullmatch(bare):
        return None
    value = float(bare)
    return value if math.isfinite(value) else None


def _line(problem: str) -> int:
    found = re.search(r" line (\d+):", problem)
    return int(found[1]) if found else 0
