"""What passes between islands, and what a sceptic tests: functions of what is known, asked by the scheduler.

The proven go round, and an island that finds nothing any more begins again elsewhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from evo.search.certification import FLOOR_SHARE, claim_value, is_deterministic
from population.archive import REPLICATED_BLOCKS
from population.islands import CHECKED, CHECKING, MIGRATED, RESTARTED, ClaimVerdict, Island, Islands
from population.lineage import Lineage
from population.run_history import RunHistory
from population.statistics.certification import Rule, Verdict, decide
from population.types import (
    CHECKS,
    SCREENED,
    Decision,
    Measurement,
    Purpose,
    RunKey,
    RunRequest,
    Status,
)

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
    """How many runs of the search went to each island's children, and to a sceptic's tests; `under_way` too."""
    history = islands.all[0].history
    used: dict[str, float] = {
        one.name: sum(history.count(rung, purpose, one.name) for purpose in SCREENED)
        for one in islands.all
    }
    begun = [one for one in under_way if one.rung == rung]
    for one in begun:
        name = islands.of(one.variant_id)
        if one.purpose in SCREENED and name in used:
            used[name] += 1
    if islands.sceptics:
        tests = sum(history.count(rung, purpose) for purpose in CHECKS)
        used[islands.sceptics[0].name] += tests + sum(one.purpose in CHECKS for one in begun)
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


# -- The sceptic: what others claim, measured anew in pairs on fresh blocks that chose nobody. A claim is that a
# member of a front is better than the parent it was made from. The most surprising comes first; each is tested
# once, and what came out is a decision that beliefs, prompts and readers have from then on.


MAX_PAIRS = 8  # of runs, for one claim
CHECK_ALPHA = 0.01  # the chance that a claim of nothing is upheld
MIN_SURPRISE = 1.0  # sds of one run that an edit has to seem better by, to be worth a test
MIN_RATIO = 1.25  # to its parent, from which on size or throughput may be the whole gain


class Sceptic:
    """The tests of one campaign's claims at its proxy. Its state is its decisions and the history's rows."""

    def __init__(self, islands: Islands, history: RunHistory, lineage: Lineage, rung: str) -> None:
        self._islands, self._history, self._lineage, self._rung = islands, history, lineage, rung
        self._first = history.objectives[0]
        self._claim: Decision | None = None  # under test
        self._tested: set[str] = set()
        self._looked_at = -1

    def take(self, decision: Decision) -> None:
        """A decision counts from now on; other kinds change nothing."""
        if decision.kind == CHECKING:
            self._claim = decision
            self._tested.add(decision.variant_id)
        elif decision.kind == CHECKED:
            self._claim = None
            self._history.judge_afresh(decision.variant_id, decision.detail["chosen_by"])

    def begin(self) -> Decision | None:
        """The test of the most surprising claim that had none; None while one is under way, or without any."""
        if self._claim is not None or self._looked_at == self._history.last_id():
            return None
        self._looked_at = self._history.last_id()
        sd = self._history.noise_sd(self._rung, self._first.name)
        if not sd or is_deterministic(self._history, self._rung):
            return None
        claims = [
            (claimed, one, parent)
            for one, parent in self._claims()
            if (claimed := self._claimed(one, parent)) >= MIN_SURPRISE * sd
        ]
        if not claims:
            return None
        claimed, one, parent = max(claims)
        used = [block for it in (one, parent) for block in self._history.blocks(it, self._rung)]
        detail = {"against": parent, "claimed": claimed, "first_block": max(used) + 1}
        detail["seen"] = self._history.last_id()
        blocks = len(self._history.blocks(one, self._rung))
        floor = FLOOR_SHARE * sd
        return Decision(CHECKING, one, {**detail, "claimed_on": blocks, "sd_floor": floor})

    def next_pair(self, taken: Callable[[RunKey], bool]) -> tuple[RunRequest, ...]:
        """The next pair of the claim under test, or what is missing of it; empty: none."""
        if self._claim is None:
            return ()
        sides = (str(self._claim.detail["against"]), self._claim.variant_id)
        for place, block in enumerate(self._blocks(self._claim)):
            pair = [RunRequest(one, self._rung, block, 0, Purpose.CHECK) for one in sides]
            if missing := [one for one in pair if not taken(one.key)]:
                return tuple(missing if place % 2 == 0 else missing[::-1])
        return ()

    def settle(self, idle: bool) -> Decision | None:
        """What came out, once the recorded pairs tell; `idle`: no pair of it will come any more."""
        claim = self._claim
        if claim is None:
            return None
        detail, who = claim.detail, claim.variant_id
        blocks = self._blocks(claim)
        mine, theirs = (self._runs(one, blocks) for one in (who, str(detail["against"])))
        failed = any(one.status is not Status.OK for one in (*mine.values(), *theirs.values()))
        both = [block for block in blocks if block in mine and block in theirs]
        gains = [] if failed else [self._gain(mine[block], theirs[block]) for block in both]
        rule = Rule(1, 0.0, detail["sd_floor"], CHECK_ALPHA, MAX_PAIRS)
        found = decide(gains, rule)
        dropped = self._history.is_vetoed(who) or failed
        if found.verdict is Verdict.OPEN and not idle and not dropped:
            return None
        gains = gains[: found.pairs]
        told = {
            "against": detail["against"],
            "claimed": detail["claimed"],
            "claimed_on": detail["claimed_on"],
            "verdict": _verdict(found.verdict, gains, detail["claimed"], failed).value,
            "pairs": len(gains),
            "gain": fmean(gains) if gains else None,
            "se": _error(gains),
            "log_e": found.log_e,
            "hosts": len({one.host for one in (*mine.values(), *theirs.values())}),
            "more": _more(mine, theirs),
            "chosen_by": detail["seen"],
            "seen": self._history.last_id(),
        }
        return Decision(CHECKED, who, told)

    def _claims(self) -> list[tuple[str, str]]:
        """Who is on an explorer's front and was not tested, with the parent it was made from."""
        found = dict[str, str]()
        for island in self._islands.explorers:
            for one in island.history.front(self._rung):
                parents = self._lineage.parents_of(one)
                if parents and one not in self._tested and not self._history.is_vetoed(one):
                    found[one] = parents[0]
        return list(found.items())

    def _claimed(self, one: str, parent: str) -> float:
        """By how much its runs so far are better than its parent's; minus infinity where one has none."""
        means = [
            self._history.measured_means(it, self._rung)[0].get(self._first.name)
            for it in (parent, one)
        ]
        if means[0] is None or means[1] is None:
            return -math.inf
        return self._first.turned(means[0].mean) - self._first.turned(means[1].mean)

    def _blocks(self, claim: Decision) -> list[int]:
        """Those of its pairs: behind what chose it, and not where a side was run for another reason since."""
        sides = (str(claim.detail["against"]), claim.variant_id)
        others = frozenset(Purpose) - CHECKS
        used = {block for one in sides for block in self._history.blocks(one, self._rung, others)}
        free = (
            block for block in itertools.count(claim.detail["first_block"]) if block not in used
        )
        return list(itertools.islice(free, MAX_PAIRS))

    def _runs(self, variant_id: str, blocks: Sequence[int]) -> dict[int, Measurement]:
        rows = self._history.rows(self._rung, purposes={Purpose.CHECK}, variant_id=variant_id)
        found = {row.measurement.request.block: row.measurement for row in rows}
        return {block: one for block, one in found.items() if block in blocks}

    def _gain(self, mine: Measurement, theirs: Measurement) -> float:
        return self._first.turned(claim_value(self._first, theirs)) - self._first.turned(
            claim_value(self._first, mine)
        )


def _verdict(found: Verdict, gains: Sequence[float], claimed: float, failed: bool) -> ClaimVerdict:
    """Upheld by proof; refuted where it fails, or where less than half of what was claimed can be left."""
    if found is Verdict.CERTIFIED:
        return ClaimVerdict.UPHELD
    se = _error(gains)
    if failed or (se is not None and fmean(gains) + se < claimed / 2):
        return ClaimVerdict.REFUTED
    return ClaimVerdict.UNPROVEN


def _error(gains: Sequence[float]) -> float | None:
    return stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else None


def _more(mine: Mapping[int, Measurement], theirs: Mapping[int, Measurement]) -> dict[str, float]:
    """How many times its parent's parameters and trained tokens it has, where that may be all of the gain."""
    found: dict[str, Any] = {}
    pairs = [(mine[block], theirs[block]) for block in mine if block in theirs]
    for name, amount in (
        ("parameters", lambda one: one.metrics.get("parameters", 0.0)),
        ("tokens", lambda one: float(one.self_reported_tokens)),
    ):
        ratios = [amount(one) / amount(other) for one, other in pairs if amount(other)]
        if ratios and fmean(ratios) >= MIN_RATIO:
            found[name] = round(fmean(ratios), 2)
    return found
