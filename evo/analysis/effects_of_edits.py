"""What an edit did: a child beside the parent it was made from, in two forms.

Believed: the difference of what is believed of both, which steers the search and its prompts. Paired: the mean
difference on the blocks that both ran on, which is what may be told of an edit by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from evo.analysis.comparison import Comparison, block_values, comparison_of, paired_differences
from population.archive import Objective
from population.types import CHOSEN_BY, Estimate, MeasurementRow, ProposalRow, Purpose

if TYPE_CHECKING:
    from population.run_history import RunHistory


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
    """Each child beside its first parent on all blocks of a rung that both ran on; none without one."""
    values = block_values(rows, rung, objective.name, purposes)
    found = {}
    for child, made in births.items():
        if made.parents:
            parent = made.parents[0].variant_id
            one = comparison_of(child, parent, values, rung, objective)
            if one is not None:
                found[child] = one
    return found


def better_than_parents(
    rows: Sequence[MeasurementRow],
    births: Mapping[str, ProposalRow],
    rung: str,
    objective: Objective,
) -> set[str]:
    """Children that beat their first parent on the search's common blocks: mostly one run each, so luck too."""
    found = paired_comparisons(rows, births, rung, objective, CHOSEN_BY)
    return {child for child, one in found.items() if one.gain > 0}
