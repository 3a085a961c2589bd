"""Who goes up: the best of the front, the middle's controls, the better half, the best one's ancestors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from statistics import fmean

import numpy as np

from evo.search.certification import claim_value
from population.archive import Standing, violation
from population.lineage import Lineage
from population.run_history import RunHistory
from population.types import GRADUATING, Status

PROVEN = (Standing.CERTIFIED, Standing.REPLICATED, Standing.CANDIDATE)
CONTROLS = 0xC0  # marks the stream of random numbers that controls are drawn from


def best_of_front(
    history: RunHistory, rung: str, certified: Collection[str], lineage_of: Callable[[str], str]
) -> list[str]:
    """The front, one a lineage, without the seed: the better proven come first, so that a lucky single
    run does not go up before what has held on fresh blocks. Nobody who breaks a constraint goes up.
    """
    seed = history.believed(history.seed_id, rung)
    members = [
        one
        for one in history.members(rung, certified)
        if not violation(history.believed(one.variant_id, rung), history.constraints, seed)
    ]
    ranked = sorted(members, key=lambda one: PROVEN.index(Standing(one.standing)))
    chosen: dict[str, str] = {}
    for member in (one.variant_id for one in ranked):  # the order within a standing is kept
        if member != history.seed_id:
            chosen.setdefault(lineage_of(member), member)
    return list(chosen.values())


def middle(history: RunHistory, rung: str, without: Collection[str]) -> list[str]:
    """The middle third by the first objective, off the front, best first."""
    objective = history.objectives[0]
    beliefs = history.beliefs(rung)
    scored = sorted(
        (objective.to_minimise(found), one)
        for one, found in beliefs.items()
        if objective.name in found and one != history.seed_id
    )
    third = len(scored) // 3
    ranked = [one for _, one in scored[third : len(scored) - third]]
    left_out = {*without, *history.front(rung)}
    return [one for one in ranked if one not in left_out]


def draw_controls(
    candidates: Sequence[str], how_many: int, campaign_seed: int, choice: int
) -> list[str]:
    """N at random, or all there are: the same again for the same campaign seed and choice."""
    rng = np.random.default_rng(np.random.SeedSequence([campaign_seed, CONTROLS, choice]))
    many = min(how_many, len(candidates))
    return [candidates[place] for place in rng.choice(len(candidates), many, replace=False)]


def gain_at(
    history: RunHistory, rung: str, variant_id: str, blocks: Collection[int]
) -> float | None:
    """The mean gain over the seed on these blocks, by the ladder's runs, above 0 is better; None without."""
    mine, seed = (_scores(history, rung, one) for one in (variant_id, history.seed_id))
    common = mine.keys() & seed.keys() & set(blocks)
    return fmean(seed[block] - mine[block] for block in common) if common else None


def promoted_ancestors(history: RunHistory, rung: str, lineage: Lineage, best: str) -> list[str]:
    """Those on the way from the seed to the best whom the search kept as better than their own parent.

    Along first parents, believed values, the greatest steps first.
    """
    objective, steps = history.objectives[0], []
    child = best
    while parents := lineage.parents_of(child):
        found = [history.believed(one, rung) for one in (child, parents[0])]
        if child != best and all(objective.name in one for one in found):
            mine, theirs = (objective.to_minimise(one) for one in found)
            if mine < theirs:
                steps.append((theirs - mine, child))
        child = parents[0]
    return [one for _, one in sorted(steps, key=lambda step: (-step[0], step[1]))]


def _scores(history: RunHistory, rung: str, variant_id: str) -> dict[int, float]:
    objective = history.objectives[0]
    sign = objective.sign
    return {
        row.measurement.request.block: sign * claim_value(objective, row.measurement)
        for row in history.rows(rung, purposes=GRADUATING, variant_id=variant_id)
        if row.measurement.status is Status.OK and objective.name in row.measurement.metrics
    }
