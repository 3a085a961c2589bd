"""The outcome of every edit: a child against its first parent, a variant's history, and who is in a tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import Comparison, compare
from evo.analysis.effects_of_edits import paired_comparisons
from evo.analysis.ranking import ranking
from population.islands import CHECKED, CHECKING, MIGRATED, RESTARTED, checked_in_words
from population.ladder import APPROVED, CHOSEN, REACHING, REVIEWED, UNVETOED, VETOED
from population.statistics.stopping import WOULD_STOP
from population.types import CHOSEN_BY, DERIVED, PUBLISHED, DecisionRow, Purpose, Status

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
    decisions: tuple[DecisionRow, ...]
    bank: str = ""  # the idea bank that its idea is from


@dataclass(frozen=True, slots=True)
class Story:
    """A variant from the seed on. `search` holds the blocks that chose it, so it flatters; `fresh` does not."""

    variant_id: str
    chapters: tuple[Chapter, ...]
    search: Comparison | None
    fresh: Comparison | None


def effects(record: Record) -> dict[str, Comparison]:
    """Each variant compared with its first parent, on all proxy blocks that both ran on."""
    return paired_comparisons(record.rows, record.births(), record.proxy, record.objective)


def standings(record: Record) -> dict[str, str]:
    """What is to be marked, by variant: its standing on the front, and whether it went up the ladder.

    Not the seed: it is what everyone is held against.
    """
    graduates = {
        run.request.variant_id
        for run in record.runs()
        if run.request.purpose is Purpose.GRADUATE
        and run.status is Status.OK
        and DERIVED not in run.request.rung
        and run.request.rung != record.proxy
    } - {record.seed_id}
    marks = {one: [standing] for one, standing in record.front.items() if one != record.seed_id}
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


def story(record: Record, variant_id: str, decided: Sequence[DecisionRow]) -> Story:
    """How a variant came to be, step by step, with what each step is known to have done."""
    marks, beside = standings(record), effects(record)
    chain = [one for one in record.chain(variant_id) if one.variant_id is not None]
    about = _by_variant(decided, {one.variant_id for one in chain if one.variant_id})
    statuses: dict[str, dict[str, int]] = {}
    for run in record.runs():
        counts = statuses.setdefault(run.request.variant_id, {})
        counts[run.status.value] = counts.get(run.status.value, 0) + 1
    chapters = []
    for made in chain:
        one = str(made.variant_id)
        chapters.append(
            Chapter(
                variant_id=one,
                number=made.number,
                operator=made.made_by,
                author=made.author,
                model=made.model,
                idea=made.idea,
                other_parents=tuple(p.variant_id for p in made.parents[1:]),
                effect=beside.get(one),
                runs=statuses.get(one, {}),
                standing=marks.get(one, ""),
                decisions=about.get(one, ()),
                bank=made.bank,
            )
        )
    pair = (record.rows, variant_id, record.seed_id, record.proxy, record.objective)
    own = variant_id == record.seed_id
    return Story(
        variant_id,
        tuple(chapters),
        None if own else compare(*pair, CHOSEN_BY),
        None if own else compare(*pair, PUBLISHED),
    )


def _by_variant(
    decided: Sequence[DecisionRow], wanted: Collection[str]
) -> dict[str, tuple[DecisionRow, ...]]:
    found: dict[str, tuple[DecisionRow, ...]] = {}
    for one in decided:
        if one.variant_id is not None and one.variant_id in wanted:
            found[one.variant_id] = (*found.get(one.variant_id, ()), one)
    return found


def decision_in_words(decided: DecisionRow) -> str:
    """A decision as a person says it."""
    detail: Mapping[str, Any] = decided.detail
    told = _TOLD.get(decided.kind)
    try:
        return told(detail) if told is not None else _unknown(decided.kind, detail)
    except (KeyError, TypeError, ValueError, AttributeError):  # written by an older version
        return _unknown(decided.kind, detail)


def _by(detail: Mapping[str, Any]) -> str:
    author, reason = detail.get("author"), detail.get("reason")
    return (f" by {author}" if author else "") + (f": {reason}" if reason else "")


def _verdict(detail: Mapping[str, Any]) -> str:
    pairs = f"{detail['pairs']} {'pair' if detail['pairs'] == 1 else 'pairs'} on fresh blocks"
    found = f"{pairs}, e-value {math.exp(detail['log_e']):.3g}"
    champion = str(detail["champion"])[:8]
    if detail["verdict"] == CERTIFIED:
        return f"certified: better than the champion {champion} ({found})"
    return f"not certified against the champion {champion}: {detail['verdict']} ({found})"


def _challenge(detail: Mapping[str, Any]) -> str:
    most = detail["rule"]["most_pairs"]
    return (
        f"challenged the champion {str(detail['champion'])[:8]}: up to {most} pairs on fresh blocks"
    )


def _leaders(detail: Mapping[str, Any]) -> str:
    return f"led a race of {len(detail['leaders'])} leaders in up to {detail['runs']} runs"


_TOLD: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "certification": _challenge,
    "verdict": _verdict,
    "leaders": _leaders,
    CHECKING: lambda detail: (
        f"claims to be {detail['claimed']:.4g} better than {str(detail['against'])[:8]}: tested by the sceptic"
    ),
    CHECKED: checked_in_words,
    MIGRATED: lambda detail: f"went from {detail['from']} to {detail['island']}, too",
    RESTARTED: lambda detail: (
        f"{detail['island']} began again from it and others of the front of {detail['from']}"
    ),
    "final": lambda detail: (
        f"compared with the seed on fresh blocks, from block {detail['first_block']} on"
    ),
    CHOSEN: lambda detail: f"chosen to go up to {detail['rung']} as {detail['role']}",
    APPROVED: lambda detail: f"approved for {detail['rung'] or 'every rung'}{_by(detail)}",
    VETOED: lambda detail: f"vetoed{_by(detail)}",
    REVIEWED: lambda detail: (
        f"{'approved' if detail['approves'] else 'objected to'} in review{_by(detail)}"
    ),
    UNVETOED: lambda detail: f"veto lifted{_by(detail)}",
    REACHING: lambda detail: "chosen to measure how soon it reaches the seed's end",
    WOULD_STOP: lambda detail: (
        f"early stopping would have ended a run here, {detail['saves_seconds']:.0f} s sooner"
    ),
}


def _unknown(kind: str, detail: Mapping[str, Any]) -> str:
    shown = [
        f"{name} {value}"
        for name, value in detail.items()
        if isinstance(value, str | int) and value
    ]
    return f"{kind}: {', '.join(shown)}" if shown else kind
