"""What passes between islands: the proven go round, and who finds nothing any more begins again elsewhere.

Functions of what is known; the scheduler asks them and records what they decide.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from population.archive import REPLICATED_BLOCKS
from population.islands import MIGRATED, RESTARTED, Island, Islands
from population.types import SCREENED, Decision, Purpose, RunRequest

MIGRATION_EVERY = 25  # runs of the search, of all islands together
STAGNANT_CHILDREN = 30  # of an island in a row, none of which reached its front
MAX_FOUNDERS = 4  # of the front that an island begins again from
AHEAD = 2.0  # standard errors by which another's best has to be better


def in_turn(islands: Sequence[Island], used: Mapping[str, float]) -> list[Island]:
    """The islands, the one first that is furthest behind its share of what all `used`, by name."""
    return sorted(islands, key=lambda one: used.get(one.name, 0.0) / one.share)


def runs_by_island(
    islands: Islands, rung: str, under_way: Iterable[RunRequest] = ()
) -> dict[str, float]:
    """How many runs of the search went to each island's children, those `under_way` too."""
    used: dict[str, float] = dict.fromkeys((one.name for one in islands.all), 0.0)
    rows = islands.all[0].history.rows(rung, purposes=SCREENED)
    begun = (one for one in under_way if one.rung == rung and one.purpose in SCREENED)
    for request in (*(row.measurement.request for row in rows), *begun):
        name = islands.of(request.variant_id)
        if name in used:
            used[name] += 1
    return used


def migrations(
    islands: Islands, rung: str, searched: int, proven: Callable[[], Collection[str]]
) -> tuple[Decision, ...]:
    """Every MIGRATION_EVERY runs each explorer's best that is replicated or certified goes to the next one.

    Empty while no round is due, or while nobody has anything to give.
    """
    due, ring = searched // MIGRATION_EVERY, islands.explorers
    if due <= islands.rounds or len(ring) < 2:
        return ()
    certified, moves = proven(), list[Decision]()
    for here, there in zip(ring, (*ring[1:], ring[0]), strict=True):
        history = here.history
        able = (
            one
            for one in history.front(rung)
            if one not in there.members
            and (one in certified or len(history.blocks(one, rung)) >= REPLICATED_BLOCKS)
        )
        if (best := next(able, None)) is not None:
            where = {"island": there.name, "from": here.name}
            moves.append(
                Decision(MIGRATED, best, {**where, "round": due, "seen": history.last_id()})
            )
    return tuple(moves)


def restart(islands: Islands, rung: str) -> Decision | None:
    """An explorer that stagnates, and is behind another by more than the noise, begins again from its front."""
    for here in islands.explorers:
        if not _is_stagnant(islands, here, rung):
            continue
        ahead = [one for one in islands.explorers if one is not here and _lead(one, here, rung) > 0]
        if ahead:
            best = max(ahead, key=lambda one: (_lead(one, here, rung), one.name))
            founders = best.history.front(rung)[:MAX_FOUNDERS]
            where = {"island": here.name, "from": best.name, "founders": founders}
            detail = {**where, "children": STAGNANT_CHILDREN, "seen": here.history.last_id()}
            return Decision(RESTARTED, founders[0], detail)
    return None


def _is_stagnant(islands: Islands, here: Island, rung: str) -> bool:
    """Whether enough of its newest children were measured, and none is on its front."""
    seed, members = here.history.seed_id, here.members
    rows = here.history.rows(rung, purposes={Purpose.SCREEN})
    made = (row.measurement.request.variant_id for row in reversed(rows))
    own = (one for one in made if islands.of(one) == here.name and one in members and one != seed)
    newest = set(itertools.islice(own, STAGNANT_CHILDREN))
    return len(newest) == STAGNANT_CHILDREN and not newest & set(here.history.front(rung))


def _lead(there: Island, here: Island, rung: str) -> float:
    """By how many standard errors beyond AHEAD the other's best is better, as this island counts."""
    fronts = there.history.front(rung), here.history.front(rung)
    if not all(fronts):
        return -math.inf
    first = here.history.objectives[0]
    theirs, own = (here.history.believed(one[0], rung).get(first.name) for one in fronts)
    if theirs is None or own is None or not theirs.sd >= 0 or not own.sd >= 0:
        return -math.inf
    se = math.hypot(theirs.sd, own.sd)
    return first.turned(own.mean) - first.turned(theirs.mean) - AHEAD * se
