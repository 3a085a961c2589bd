"""What an edit did: a child beside the parent it was made from, in two forms.

Believed: the difference of what is believed of both, which steers the search and its prompts. Paired: the mean
difference on the blocks that both ran on, which is what may be told of an edit by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from evo.analysis.comparison import Comparison, block_values, comparison_of, paired_differences
from population.archive import Objective
from population.reading.memory import ideas_by_variant, judged_ideas
from population.types import (
    CHOSEN_BY,
    REPAIR,
    Estimate,
    JudgedIdea,
    MeasurementRow,
    ProposalRow,
    Purpose,
)

if TYPE_CHECKING:
    from evo.analysis.campaign_view import Record
    from population.run_history import RunHistory
    from population.store import Store


class EditEffect(NamedTuple):
    """Child minus parent in the first objective, its standard error, and n blocks; None where not known."""

    difference: float | None
    se: float | None
    n: int

    @classmethod
    def between(cls, mine: Estimate | None, parents: Estimate | None) -> EditEffect:
        """By what is believed of both; n is the smaller of theirs."""
        if mine is None or parents is None:
            return UNKNOWN
        se = math.hypot(mine.sd, parents.sd)
        known = se if math.isfinite(se) else None
        return cls(mine.mean - parents.mean, known, min(mine.n, parents.n))


UNKNOWN = EditEffect(None, None, 0)


def believed_effect(
    history: RunHistory, rung: str, child: str, parent: str, as_of: int | None = None
) -> EditEffect:
    """By what a campaign believes of both after the rows up to `as_of`."""
    name = history.objectives[0].name
    mine, theirs = (history.believed(one, rung, as_of).get(name) for one in (child, parent))
    return EditEffect.between(mine, theirs)


def paired_effect(
    history: RunHistory, rung: str, child: str, parent: str, as_of: int | None = None
) -> EditEffect:
    """Over the blocks that both ran on.

    The standard error of n paired differences is sd x sqrt(2 / n), sd that of one run pooled over all variants:
    the spread of two or three differences says little. Where blocks move everyone it is on the safe side.
    """
    name = history.objectives[0].name
    rows = [row for one in (child, parent) for row in history.rows(rung, as_of, variant_id=one)]
    values = block_values(rows, rung, name)
    pairs = paired_differences(values.get(child, {}), values.get(parent, {}))
    if not pairs:
        return UNKNOWN
    sd = history.noise_sd(rung, name, as_of)
    se = None if sd is None else sd * math.sqrt(2 / len(pairs))
    return EditEffect(fmean(pairs.values()), se, len(pairs))


def paired_comparisons(
    rows: Sequence[MeasurementRow],
    births: Mapping[str, ProposalRow],
    rung: str,
    objective: Objective,
    purposes: frozenset[Purpose] | None = None,
) -> dict[str, Comparison]:
    """Each child beside its first parent on all blocks of a rung that both ran on; none without one.

    A repaired child is held against what its failed parent was made from.
    """
    values = block_values(rows, rung, objective.name, purposes)
    found = {}
    for child, made in births.items():
        sides = made.parents if made.operator == REPAIR else made.parents[:1]
        beside = (comparison_of(child, at.variant_id, values, rung, objective) for at in sides)
        if (one := next(filter(None, beside), None)) is not None:
            found[child] = one
    return found


def ideas_with_effects(store: Store, record: Record, author: str | None = None) -> list[JudgedIdea]:
    """All ideas, or one author's: how their children ended, and what they did to the first objective.

    The effect is child minus parent, paired, the mean of all children that try the idea; its standard error
    is that of their spread, None below two.
    """
    tried, births = ideas_by_variant(store), record.births()
    children = {child: made for child, made in births.items() if child in tried}
    found = paired_comparisons(record.rows, children, record.proxy, record.objective)
    effects: dict[int, list[float]] = {}
    for child, one in found.items():
        effects.setdefault(tried[child], []).append(one.difference)
    return [_with_effect(one, effects.get(one.id, ())) for one in judged_ideas(store, author)]


def _with_effect(idea: JudgedIdea, effects: Sequence[float]) -> JudgedIdea:
    n = len(effects)
    se = stdev(effects) / math.sqrt(n) if n > 1 else None
    return replace(idea, n=n, effect=fmean(effects) if n else None, effect_se=se)


def better_than_parents(
    rows: Sequence[MeasurementRow],
    births: Mapping[str, ProposalRow],
    rung: str,
    objective: Objective,
) -> set[str]:
    """Children that beat their first parent on the search's common blocks: mostly one run each, so luck too."""
    found = paired_comparisons(rows, births, rung, objective, CHOSEN_BY)
    return {child for child, one in found.items() if one.gain > 0}
