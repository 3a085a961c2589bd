"""A history in the style of autoresearch as a campaign's folder: every number in it is self-reported."""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from evo.analysis.imported import IMPORT, SELF_REPORTED
from evo.files import write_file
from evo.folder import DRAFT, Folder, clear, refuse_folder
from evo.importing.repository import TRAIN, Commit, Repository
from evo.importing.results import ImportFailure, Reported, Results, Row
from population.archive import Objective
from population.fingerprint import fingerprint, fingerprint_without
from population.parsing import parse
from population.reading import measurements
from population.statistics import block_means
from population.store import Store
from population.types import (
    Estimate,
    FrontMember,
    Measurement,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)

RUNG = "reported"
AUTHOR = "autoresearch"
MISSING = "# The clone does not hold this train.py: it was attempted as commit {commit}.\n"
_COMMIT = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A row with the code it was made with. `code`: equal for repeats, "" where the source is not held."""

    row: Row
    variant: Variant
    code: str
    committed_at: float  # seconds since the epoch; the row before's where the commit is not held


@dataclass(frozen=True, slots=True)
class Brought:
    """What an import brought in."""

    folder: Path
    measurements: int
    variants: int
    without_source: int
    problems: tuple[str, ...]


def attempts_of(
    repository: Repository, rows: Sequence[Row], step: Callable[[int], None], train: str = TRAIN
) -> list[ImportedRow]:
    """Every row with its source, the file `train`; `step` hears how many are read."""
    found: list[ImportedRow] = []
    at = 0.0
    for row, commit in zip(rows, repository.commits(_names(rows), train), strict=True):
        at = commit.committed_at if commit else at
        found.append(_attempt(row, commit, at))
        step(len(found))
    return found


def _names(rows: Sequence[Row]) -> list[str]:
    """What git is asked for: a first row that names no commit is what the first commit was made from."""
    names = [row.commit if _COMMIT.fullmatch(row.commit) else "" for row in rows]
    if names and not names[0]:
        names[0] = f"{first}~1" if (first := next(filter(None, names), "")) else ""
    return names


def _attempt(row: Row, commit: Commit | None, at: float) -> ImportedRow:
    if commit is None or commit.train is None:
        source = MISSING.format(commit=commit.hash if commit else row.commit)
        id = variant_id(source)  # its fingerprint too: what is not known repeats nothing
        return ImportedRow(row, Variant(id, source, id), "", at)
    id = variant_id(commit.train)
    try:
        print_, code = fingerprint(commit.train), seedless_fingerprint(commit.train)
    except SyntaxError:
        print_ = code = id
    return ImportedRow(row, Variant(id, commit.train, print_), code, at)


def import_history(
    path: Path,
    repository: Repository,
    results: Results,
    attempts: Sequence[ImportedRow],
    noise: float | None = None,
) -> Brought:
    """Write the campaign's folder. CampaignError when it holds anything, ImportFailure without a row.

    `noise`: the sd of one run, where it is known.
    """
    refuse_folder(path)
    if not attempts:
        told = "\n".join(["no row can be imported", *results.problems[:5]])
        raise ImportFailure(told)
    was_there = path.exists()
    path.mkdir(parents=True, exist_ok=True)
    draft = path / DRAFT  # a kill leaves no half of a history
    try:
        for stale in path.glob(f"{draft.name}*"):
            stale.unlink()
        with Store.create(draft) as store, store.transaction():
            brought = _Writer(store, attempts, results).write()
            _say_what_it_is(store, repository, results, noise)
        seed = attempts[results.baseline].variant
        write_file(path / TRAIN, seed.source)
        os.replace(draft, Folder(path).database)
    except BaseException:
        clear(Folder(path), keep=was_there)
        raise
    return Brought(path, len(attempts), *brought, results.problems)


def _say_what_it_is(
    store: Store, repository: Repository, results: Results, noise: float | None
) -> None:
    one = Objective(name=results.metric, direction=results.direction)
    objective = one.model_dump(mode="json")
    config = {"name": repository.path.name, "rungs": {RUNG: {}}, "objectives": [objective]}
    store.set_setting("config", config)
    store.set_setting("kind", IMPORT)
    store.set_setting(
        IMPORT,
        {
            "repository": str(repository.path),
            "head": repository.head,
            "problems": list(results.problems),
            "inferred": list(results.inferred),
            "noise": noise,
        },
    )
    store.add_event("end", "imported: self-reported, nothing of it was measured here")


class _Writer:
    """Proposals and measurements in the order of the rows; the seed's proposal comes first."""

    def __init__(self, store: Store, attempts: Sequence[ImportedRow], results: Results) -> None:
        self._store, self._attempts, self._results = store, attempts, results
        self._twins: dict[str, str] = {}  # fingerprint to the first variant that has it
        self._runs: dict[str, int] = {}
        self._number = 0

    def write(self) -> tuple[int, int]:
        """How many variants there are, and how many of them without a source."""
        root = self._results.baseline
        base = self._propose(self._attempts[root], None)
        for number, one in enumerate(self._attempts):
            own = base if number == root else self._propose(one, base)
            self._measure(one, own, base)
            base = own if one.row.status is Reported.KEEP else base
        self._set_front()
        held = {one.variant.fingerprint for one in self._attempts if one.code}
        return len(self._twins), len(self._twins) - len(held)

    def _propose(self, one: ImportedRow, base: str | None) -> str:
        """The variant that an attempt ran: a known one where nothing but the form is new."""
        self._number += 1
        twin = self._twins.get(one.variant.fingerprint)
        own = self._twins.setdefault(one.variant.fingerprint, one.variant.id)
        self._store.add_proposal(
            Proposal(
                self._number,
                "seed" if base is None else f"reported_{one.row.status}",
                () if base is None else (Parent(base, "parent"),),
                Outcome.DUPLICATE if twin else Outcome.VARIANT,
                reason=f"repeats {twin[:8]}" if twin else "",
                variant=None if twin else one.variant,
                idea=one.row.description,
                author=AUTHOR,
            )
        )
        return own

    def _measure(self, one: ImportedRow, own: str, base: str) -> None:
        row, block = one.row, self._runs.get(own, 0)
        self._runs[own] = block + 1  # no repeat shares anything with another: each is a block
        crashed = row.status is Reported.CRASH
        memory = {"peak_memory_mb": row.memory_mb} if row.memory_mb else {}
        shown = {**row.more, self._results.metric: row.value, **memory}
        self._store.add_measurement(
            Measurement(
                RunRequest(own, RUNG, block, 0, Purpose.SCREEN),
                Status.CRASHED if crashed else Status.OK,
                reason=f"{SELF_REPORTED}: {row.status}, line {row.line}",
                metrics={} if crashed else shown,
                started_at=one.committed_at,
                facts={
                    "origin": SELF_REPORTED,
                    "line": str(row.line),
                    "commit": row.commit,
                    "reported": row.status.value,
                    "description": row.description,
                    "code": one.code,
                    "base": base,
                },
            )
        )

    def _set_front(self) -> None:
        found, metric = block_means(measurements(self._store)), self._results.metric
        way = Objective(name=metric, direction=self._results.direction)
        scored = {
            one: Estimate(fmean(metrics[metric].values()), math.nan, len(metrics[metric]))
            for one, metrics in found.items()
            if metric in metrics
        }
        if scored:
            best = min(scored, key=lambda one: (way.turned(scored[one].mean), one))
            self._store.set_front(RUNG, [FrontMember(best, SELF_REPORTED, scored[best])])


# -- What a source says apart from its random seeds: two runs of such code are repeats of each other.


_CALLS = frozenset({"seed", "manual_seed", "manual_seed_all", "set_seed", "PRNGKey", "default_rng"})


def seedless_fingerprint(source: str) -> str:
    """Like `fingerprint`, with whole numbers that seed randomness left out. SyntaxError as there.

    They are the arguments of the usual seeding calls, `seed=` arguments, and names that are `seed` or
    end in `_seed`.
    """
    tree = parse(source)
    seeds = [literal for node in ast.walk(tree) for literal in _seeds(node)]
    return fingerprint_without(tree, seeds)


def _seeds(node: ast.AST) -> list[ast.Constant]:
    found: list[ast.expr | None] = []
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        found += node.args if name in _CALLS else []
    elif isinstance(node, ast.keyword):
        found += [node.value] if _is_seed(node.arg or "") else []
    elif isinstance(node, ast.Assign):
        names = [one.id for one in node.targets if isinstance(one, ast.Name)]
        found += [node.value] if any(map(_is_seed, names)) else []
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        found += [node.value] if _is_seed(node.target.id) else []
    return [one for one in found if isinstance(one, ast.Constant) and type(one.value) is int]


def _is_seed(name: str) -> bool:
    return name.lower() == "seed" or name.lower().endswith("_seed")
