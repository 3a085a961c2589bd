"""Every idea judged by the children that tried it, from the measurements a proposal may see."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import fmean, stdev

from evo.analysis.effects_of_edits import UNKNOWN, EditEffect, believed_effect
from operators.operator import Tried
from population.lineage import Lineage
from population.reading import first_proposal
from population.reading.memory import idea_rows, ideas_by_variant
from population.run_history import RunHistory
from population.store import Store
from population.types import OURSELVES, JudgedIdea, MeasurementRow, Status

LAST = 60  # ideas looked at, beside those that the front was made of


class Judge:
    """Judges ideas at a rung; what it says depends on rows up to `as_of` alone."""

    def __init__(self, run_history: RunHistory, lineage: Lineage, rung: str) -> None:
        self._run_history, self._lineage, self._rung = run_history, lineage, rung

    def ideas(self, store: Store, as_of: int | None) -> list[JudgedIdea]:
        """Those of the front and the last: what people wait for, then the best effect, then the newest."""
        tried: dict[int, list[str]] = {}
        by_variant = ideas_by_variant(store)
        for variant_id, idea_id in by_variant.items():
            tried.setdefault(idea_id, []).append(variant_id)
        rows = idea_rows(store)
        paid = {by_variant.get(one) for one in self._made_the_front(as_of)}
        known = [row for at, row in enumerate(rows) if row[0] in paid or at >= len(rows) - LAST]
        ideas = [self._judged(row, tried.get(row[0], []), as_of) for row in known]
        return sorted(ideas, key=self._interest)

    def _made_the_front(self, as_of: int | None) -> set[str]:
        seed = self._run_history.seed_id
        front = [one for one in self._run_history.front(self._rung, as_of) if one in self._lineage]
        return {step for one in front for step in self._lineage.way(seed, one)}

    def _interest(self, one: JudgedIdea) -> tuple[int, float]:
        if not one.children and one.author != OURSELVES:
            return 0, -one.id
        if one.effect is None:
            return 2, -one.id
        return 1, self._run_history.objectives[0].turned(one.effect)

    def _judged(
        self, row: tuple[int, str, str, float], children: list[str], as_of: int | None
    ) -> JudgedIdea:
        ends = [self._end(one, as_of) for one in children]
        effects, errors = [], []
        for child in sorted(children):
            parents = self._lineage.parents_of(child) if child in self._lineage else ()
            found = self._effect(child, parents[0], as_of) if parents else UNKNOWN
            if found.difference is not None:
                effects.append(found.difference)
                errors.append(found.se if found.se is not None else math.nan)
        return JudgedIdea(
            *row,
            children=len(children),
            ok=ends.count("ok"),
            failed=ends.count("failed"),
            waiting=ends.count("waiting"),
            n=len(effects),
            effect=fmean(effects) if effects else None,
            effect_se=_standard_error(effects, errors),
        )

    def _effect(self, child: str, parent: str, as_of: int | None) -> EditEffect:
        return believed_effect(self._run_history, self._rung, child, parent, as_of)

    def _end(self, variant_id: str, as_of: int | None) -> str:
        rows = self._run_history.rows(self._rung, as_of, variant_id=variant_id)
        if not rows:
            return "waiting"
        return "ok" if any(r.measurement.status is Status.OK for r in rows) else "failed"


def _standard_error(effects: list[float], errors: list[float]) -> float | None:
    """Of the mean effect: from its children's spread or their own errors, whichever is larger."""
    found = []
    if len(effects) > 1:
        found.append(stdev(effects) / math.sqrt(len(effects)))
    if effects and not any(math.isnan(one) for one in errors):
        found.append(math.hypot(*errors) / len(errors))
    return max(found, default=None)


def tried_by(
    history: RunHistory,
    rung: str,
    child: str,
    parent: str,
    idea: str,
    operator: str,
    rows: Sequence[MeasurementRow],
    as_of: int | None,
) -> Tried:
    """One edit as a prompt tells it, by what is believed after `rows`, the child's at this rung."""
    status, reason = "not measured", ""
    if rows:
        ok = any(row.measurement.status is Status.OK for row in rows)
        last = rows[-1].measurement
        status, reason = (Status.OK.value, "") if ok else (last.status.value, last.reason)
    value = history.believed(child, rung, as_of).get(history.objectives[0].name)
    effect = believed_effect(history, rung, child, parent, as_of)
    return Tried(
        idea, operator, status, *effect, value.mean if value else None, reason, variant_id=child
    )


# -- The edits on the way from an ancestor to a variant, each with the effect that it was measured to have.


class Lines:
    """Reads lines of descent at a rung; what it says depends on rows up to `as_of` alone."""

    def __init__(self, run_history: RunHistory, lineage: Lineage, rung: str) -> None:
        self._run_history, self._lineage, self._rung = run_history, lineage, rung

    def edits(
        self, store: Store, ancestor: str, variant_id: str, as_of: int | None
    ) -> tuple[Tried, ...]:
        """Each step from the ancestor to the variant, the oldest first; () for the ancestor itself."""
        way = self._lineage.way(ancestor, variant_id)
        return tuple(
            self._edit(store, before, after, as_of) for before, after in itertools.pairwise(way)
        )

    def _edit(self, store: Store, before: str, after: str, as_of: int | None) -> Tried:
        made = first_proposal(store, after)
        idea, operator = (made.idea, made.operator) if made is not None else ("", "")
        rows = self._run_history.rows(self._rung, as_of, variant_id=after)
        return tried_by(self._run_history, self._rung, after, before, idea, operator, rows, as_of)
