"""What became of every edit: a child beside its first parent, a variant's story, and who is shown in a tree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evo.analysis.comparison import Comparison, block_values, compare, comparison_of
from evo.analysis.ranking import AFTER, SEARCH, ranking
from evo.analysis.record import Record
from population.records import Decided
from population.variant import DERIVED, Purpose, Status

CERTIFIED, GRADUATED = "certified", "graduated"


@dataclass(frozen=True, slots=True)
class Chapter:
    """One step of a story. `effect`: it minus its first parent at the proxy; None without common blocks."""

    variant_id: str
    number: int
    operator: str
    author: str
    model: str
    idea: str
    other_parents: tuple[str, ...]
    effect: Comparison | None
    runs: Mapping[str, int]  # its measurements by status
    standing: str
    decisions: tuple[Decided, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """A variant from the seed on. `search` holds the blocks that chose it, so it flatters; `fresh` does not."""

    variant_id: str
    chapters: tuple[Chapter, ...]
    search: Comparison | None
    fresh: Comparison | None


def effects(record: Record) -> dict[str, Comparison]:
    """Each variant beside its first parent, on all proxy blocks that both ran on."""
    objective = record.objective
    values = block_values(record.rows, record.proxy, objective.name)
    found = {}
    for child, made in record.births().items():
        if made.parents:
            pair = (child, made.parents[0].variant_id)
            one = comparison_of(*pair, values, record.proxy, objective)
            if one is not None:
                found[child] = one
    return found


def standings(record: Record) -> dict[str, str]:
    """What is to be marked, by variant: its standing on the front, and whether it went up the ladder."""
    graduates = {
        run.order.variant_id
        for run in record.runs()
        if run.order.purpose is Purpose.GRADUATE
        and run.status is Status.OK
        and DERIVED not in run.order.rung
        and run.order.rung != record.proxy
    } - {record.seed_id}
    marks = {one: [standing] for one, standing in record.front.items()}
    for one in graduates:
        marks.setdefault(one, []).append(GRADUATED)
    return {one: ", ".join(found) for one, found in marks.items()}


def lineage_of(record: Record, variant_id: str) -> set[str]:
    """Its first parents up to the seed, itself, and all that comes from it along first parents."""
    births = record.births()
    kept = {one.variant_id for one in record.chain(variant_id) if one.variant_id}
    below = {variant_id}
    for child, made in births.items():  # children come after their parents
        if made.parents and made.parents[0].variant_id in below:
            below.add(child)
    return kept | below


def best_with_lines(record: Record, most: int) -> set[str]:
    """The best variants by the first objective, and everyone on the way to them."""
    births = record.births()
    kept: set[str] = set()
    for one in ranking(record)[:most]:
        here: str | None = one.variant_id
        while here is not None and here not in kept:
            kept.add(here)
            parents = births[here].parents if here in births else ()
            here = parents[0].variant_id if parents else None
    return kept


def story(record: Record, variant_id: str, decided: Sequence[Decided]) -> Story:
    """How a variant came to be, step by step, with what each step is known to have done."""
    marks, beside = standings(record), effects(record)
    chain = [one for one in record.chain(variant_id) if one.variant_id is not None]
    about = _by_variant(decided, {one.variant_id for one in chain if one.variant_id})
    statuses: dict[str, dict[str, int]] = {}
    for run in record.runs():
        counts = statuses.setdefault(run.order.variant_id, {})
        counts[run.status.value] = counts.get(run.status.value, 0) + 1
    chapters = []
    for made in chain:
        one = str(made.variant_id)
        chapters.append(
            Chapter(
                variant_id=one,
                number=made.number,
                operator=made.operator,
                author=made.author,
                model=made.model,
                idea=made.idea,
                other_parents=tuple(p.variant_id for p in made.parents[1:]),
                effect=beside.get(one),
                runs=statuses.get(one, {}),
                standing=marks.get(one, ""),
                decisions=about.get(one, ()),
            )
        )
    pair = (record.rows, variant_id, record.seed_id, record.proxy, record.objective)
    own = variant_id == record.seed_id
    return Story(
        variant_id,
        tuple(chapters),
        None if own else compare(*pair, SEARCH),
        None if own else compare(*pair, AFTER),
    )


def _by_variant(
    decided: Sequence[Decided], wanted: Collection[str]
) -> dict[str, tuple[Decided, ...]]:
    found: dict[str, tuple[Decided, ...]] = {}
    for one in decided:
        if one.variant_id is not None and one.variant_id in wanted:
            found[one.variant_id] = (*found.get(one.variant_id, ()), one)
    return found


def decision_in_words(decided: Decided) -> str:
    """A decision with those of its details that say something to a person."""
    detail: Mapping[str, Any] = decided.detail
    shown = []
    for name in ("verdict", "rung", "role", "author", "reason", "pairs", "log_e", "first_block"):
        value = detail.get(name)
        if isinstance(value, float):
            shown.append(f"{name} {value:.3g}")
        elif isinstance(value, str | int) and value != "":
            shown.append(str(value) if name in ("verdict", "role") else f"{name} {value}")
    return f"{decided.kind}: {', '.join(shown)}" if shown else decided.kind
