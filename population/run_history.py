"""What a running campaign knows, in memory: every measurement in short, and who descends from whom.

It is filled from the store when a campaign opens and grows by one row a measurement, so that a decision
costs no query; the store stays the only truth.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Mapping, Sequence
from itertools import chain

from population.archive import Constraint, Objective, admissible, standings, violation
from population.beliefs import RungBeliefs
from population.selection import Candidate
from population.statistics.posteriors import NO_FAMILY, Family
from population.types import (
    SITE,
    Estimate,
    FrontMember,
    MeasurementRow,
    Purpose,
    RunKey,
    RunRequest,
    Status,
)

Beliefs = dict[str, dict[str, Estimate]]
ROWS_OF_A_LOOK = 20  # variants that a row pays for, when all are looked at
MAX_ATTEMPTS = 3  # a run that our own machine lost this often is given up


class _LeftOut:
    """Who is neither parent nor front member: who was vetoed, and who belongs to another population."""

    def __init__(self) -> None:
        self.vetoed: frozenset[str] = frozenset()
        self.members: Container[str] | None = None  # None: everyone belongs here

    def __contains__(self, variant_id: object) -> bool:
        return variant_id in self.vetoed or not self.is_member(variant_id)

    def is_member(self, variant_id: object) -> bool:
        return self.members is None or variant_id in self.members


class RunHistory:
    """Measurements in short, by rung, in the order they were recorded. Thread-safe."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        seed_id: str,
        constraints: Sequence[Constraint] = (),
        family: Family = NO_FAMILY,
    ) -> None:
        self._family = family
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self.seed_id = seed_id
        self._left_out = _LeftOut()
        self._fresh_after: dict[str, int] = {}  # by variant: rows up to here chose it
        self._parts: list[RunHistory] = []  # what hears of everything, too
        self._lock = threading.RLock()
        self._last_id = 0
        self._rows: dict[str, list[MeasurementRow]] = defaultdict(list)
        self._keys: dict[RunKey, Status] = {}
        self._lost: Counter[RunKey] = Counter()
        self._voided: Counter[RunKey] = Counter()
        self._purposes: Counter[tuple[str, Purpose]] = Counter()
        self._of_island: Counter[tuple[str, Purpose, str]] = Counter()  # by who made the variant
        self._of_variant: dict[tuple[str, str], list[MeasurementRow]] = defaultdict(list)
        self._blocks: dict[tuple[str, str], set[int]] = defaultdict(
            set
        )  # that a variant has a row on
        self._of_purpose: dict[tuple[str, Purpose], list[MeasurementRow]] = defaultdict(list)
        self._elsewhere: defaultdict[str, int] = defaultdict(lambda: -1)  # the last block, by rung
        self._told: dict[str, Beliefs] = {}  # what moved_beliefs() has told, by rung
        self._news: dict[str, dict[str, None]] = defaultdict(dict)  # measured since then
        self._turns: defaultdict[str, int] = defaultdict(
            int
        )  # the row whose variant is looked at next
        # grown row by row: one for what is known now, one for what an exact campaign may see
        self._beliefs: dict[tuple[str, bool], RungBeliefs] = {}

    def add(self, row: MeasurementRow) -> None:
        """Take in one recorded measurement; a lost one only counts as an attempt."""
        request = row.measurement.request
        for part in self._parts:
            part.add(row)
        with self._lock:
            if row.measurement.status is Status.LOST:
                self._lost[request.key] += 1
                return
            self._last_id = max(self._last_id, row.id)
            rows = self._rows[request.rung]
            if rows and rows[-1].id > row.id:  # two slots ended at once
                self._beliefs.clear()
            insort(rows, row, key=_id_of)
            insort(self._of_variant[request.rung, request.variant_id], row, key=_id_of)
            insort(self._of_purpose[request.rung, request.purpose], row, key=_id_of)
            self._blocks[request.rung, request.variant_id].add(request.block)
            self._news[request.rung].setdefault(request.variant_id)
            self._keys[request.key] = row.measurement.status
            self._purposes[request.rung, request.purpose] += 1
            born = self._family.birth_of(request.variant_id)
            island = born.island if born is not None else ""
            self._of_island[request.rung, request.purpose, island] += 1
            if request.block >= SITE:
                last = max(self._elsewhere[request.rung], request.block % SITE)
                self._elsewhere[request.rung] = last

    def void(self, request: RunRequest) -> None:
        """A run of this request was recorded and does not count."""
        for part in self._parts:
            part.void(request)
        with self._lock:
            self._voided[request.key] += 1

    def voided(self, request: RunRequest) -> int:
        """How many runs of this request do not count."""
        with self._lock:
            return self._voided[request.key]

    def veto(self, variant_ids: Collection[str]) -> None:
        """Who is neither parent nor front member from now on, whatever was measured."""
        for part in self._parts:
            part.veto(variant_ids)
        with self._lock:
            self._left_out.vetoed = frozenset(variant_ids)
            self._beliefs.clear()

    def part(self, objectives: Sequence[Objective], members: Container[str]) -> RunHistory:
        """The same rows for a population of its own: only its members are parents or on its front.

        It hears of every row that comes. Make it before the first row, and tell it by `forget_front` when
        others belong to it. `objectives`: what it is to improve.
        """
        made = RunHistory(objectives, self.seed_id, self.constraints, self._family)
        made._left_out.members = members
        self._parts.append(made)
        return made

    def judge_afresh(self, variant_id: str, after: int) -> None:
        """From now on only rows with ids above `after` say what is believed of it: those before chose it."""
        for part in self._parts:
            part.judge_afresh(variant_id, after)
        with self._lock:
            self._fresh_after[variant_id] = after
            self._beliefs.clear()

    def forget_front(self) -> None:
        """Others belong to this population from now on."""
        with self._lock:
            self._beliefs.clear()

    def is_vetoed(self, variant_id: str | None) -> bool:
        """Whether a person rejected this variant."""
        with self._lock:
            return variant_id in self._left_out.vetoed

    def is_member(self, variant_id: str) -> bool:
        """Whether this variant belongs to the population that is meant here."""
        with self._lock:
            return self._left_out.is_member(variant_id)

    def rungs(self) -> list[str]:
        """The rungs that something was measured at."""
        with self._lock:
            return list(self._rows)

    def last_id(self) -> int:
        """The id of the newest row, 0 when there is none."""
        with self._lock:
            return self._last_id

    def measured(self, key: RunKey) -> bool:
        """Whether this run is recorded."""
        with self._lock:
            return key in self._keys

    def attempts(self, key: RunKey) -> int:
        """How often this run was lost."""
        with self._lock:
            return self._lost[key]

    def seed_failed(self, rung: str) -> bool:
        """Whether the seed failed or was given up there and has no score: nothing can be compared with it."""
        ends = {row.measurement.status for row in self.rows(rung, variant_id=self.seed_id)}
        if Status.OK in ends:
            return False
        with self._lock:
            lost = [one for one in self._lost if (one.variant_id, one.rung) == (self.seed_id, rung)]
        return bool(ends) or any(map(self.is_given_up, lost))

    def forget_losses(self, variant_id: str) -> None:
        """Count no attempt of a variant that a machine lost until now: it is tried anew."""
        with self._lock:
            for key in [one for one in self._lost if one.variant_id == variant_id]:
                del self._lost[key]

    def is_given_up(self, key: RunKey) -> bool:
        """Whether this run was lost so often that it is not tried again."""
        return self.attempts(key) >= MAX_ATTEMPTS

    def is_settled(self, key: RunKey) -> bool:
        """Whether this run is recorded or given up."""
        return self.measured(key) or self.is_given_up(key)

    def count(self, rung: str, purpose: Purpose, island: str | None = None) -> int:
        """Runs recorded at a rung for a purpose; `island`: of its children alone, "" of what no island made."""
        with self._lock:
            if island is None:
                return self._purposes[rung, purpose]
            return self._of_island[rung, purpose, island]

    def rows(
        self,
        rung: str,
        as_of: int | None = None,
        purposes: Collection[Purpose] | None = None,
        variant_id: str | None = None,
    ) -> list[MeasurementRow]:
        """Rows of a rung in order, none with an id above `as_of`."""
        with self._lock:
            if variant_id is not None:
                known = self._of_variant[rung, variant_id]
            elif purposes is not None:
                those = [self._of_purpose[rung, one] for one in sorted(set(purposes))]
                known = those[0] if len(those) == 1 else sorted(chain(*those), key=_id_of)
            else:
                known = self._rows[rung]
            found = known[: len(known) if as_of is None else bisect_right(known, as_of, key=_id_of)]
            if variant_id is None or purposes is None:
                return found
            return [row for row in found if row.measurement.request.purpose in purposes]

    def blocks(
        self, variant_id: str, rung: str, purposes: Collection[Purpose] | None = None
    ) -> list[int]:
        """The blocks a variant has a row on, ascending."""
        with self._lock:
            if purposes is None:
                return sorted(self._blocks[rung, variant_id])
        rows = self.rows(rung, purposes=purposes, variant_id=variant_id)
        return sorted({row.measurement.request.block for row in rows})

    def first_fresh_block(self, rung: str, variant_ids: Collection[str] | None = None) -> int:
        """The first block behind those that these (None: all) ran on here, and anyone in another campaign."""
        with self._lock:
            rows = self._rows[rung]
            if variant_ids is not None:
                rows = [row for one in variant_ids for row in self._of_variant[rung, one]]
            blocks = (row.measurement.request.block for row in rows)
            here = max((block for block in blocks if block < SITE), default=-1)
            return max(here, self._elsewhere[rung]) + 1

    def beliefs(self, rung: str, as_of: int | None = None) -> Beliefs:
        """Estimates by variant and metric, from every run at a rung whatever it was made for."""
        with self._lock:
            known = self._known(rung, as_of)
            return {variant_id: known.found(variant_id).all() for variant_id in known}

    def believed(
        self,
        variant_id: str,
        rung: str,
        as_of: int | None = None,
    ) -> dict[str, Estimate]:
        """Estimates of one variant by metric; empty without an `ok` run."""
        with self._lock:
            known = self._known(rung, as_of)
            return known.found(variant_id).all() if variant_id in known else {}

    def error(self, variant_id: str, rung: str, metric: str) -> float:
        """What is shown after the ± of a belief; KeyError without an `ok` run that has the metric."""
        with self._lock:
            return self._known(rung, None).error(variant_id, metric)

    def measured_means(
        self, variant_id: str, rung: str, as_of: int | None = None
    ) -> tuple[dict[str, Estimate], float]:
        """Means of its runs by metric, nothing shrunk, and the first objective's sum of squares about its mean.

        Empty without an `ok` run.
        """
        with self._lock:
            known = self._known(rung, as_of)
            if variant_id not in known:
                return {}, 0.0
            means = known.measured(variant_id).all()
            return means, known.scatter(variant_id, self.objectives[0].name)

    def noise_sd(self, rung: str, metric: str, as_of: int | None = None) -> float | None:
        """The sd of one run of a variant from block to block; None while it is not known."""
        with self._lock:
            return self._known(rung, as_of).noise_sd(metric)

    def usual_gain(self, rung: str, operator: str, as_of: int | None = None) -> float | None:
        """What an edit of an operator gains in the first objective where it gains; None while not known."""
        with self._lock:
            return self._known(rung, as_of).usual_gain(operator)

    def front(self, rung: str, as_of: int | None = None) -> list[str]:
        """The Pareto front at a rung, best first objective first; empty before the seed has a score."""
        with self._lock:
            return self._known(rung, as_of).front()

    def _known(self, rung: str, as_of: int | None) -> RungBeliefs:
        """The beliefs of a rung, brought up to `as_of`."""
        rows = self._rows[rung]
        if as_of is not None and rows and rows[-1].id <= as_of:
            as_of = None  # nothing is newer: what is known now is the same
        wanted = (rung, as_of is None)
        known = self._beliefs.get(wanted)
        if known is None or (as_of is not None and known.last_id > as_of):
            known = RungBeliefs(
                self.seed_id, self.objectives, self.constraints, self._left_out, self._family
            )
            self._beliefs[wanted] = known
        while known.taken < len(rows) and (as_of is None or rows[known.taken].id <= as_of):
            row = rows[known.taken]
            known.taken, known.last_id = known.taken + 1, row.id
            if row.id > self._fresh_after.get(row.measurement.request.variant_id, 0):
                known.add(row)
        return known

    def members(self, rung: str, certified: Collection[str] = ()) -> list[FrontMember]:
        """The front with each member's standing and its estimate of the first objective."""
        with self._lock:
            known, first = self._known(rung, None), self.objectives[0].name
            front = known.front()
            vouched = (
                frozenset(Purpose) - {Purpose.SHARED}
                if self._of_purpose[rung, Purpose.SHARED]
                else None
            )
            blocks = {one: len(self.blocks(one, rung, vouched)) for one in front}
            standing = standings(front, blocks, certified)
            return [FrontMember(one, standing[one], known.found(one)[first]) for one in front]

    def moved_beliefs(self, rung: str, whole: bool = False) -> Beliefs:
        """The objectives' beliefs that moved since the last time this was asked; empty: no score now.

        Each row moves all of them a little, so of many variants the front, those just measured and in turn
        ROWS_OF_A_LOOK others a row are looked at; everyone with `whole`: what a row costs does not grow with
        their number, and nobody waits while all are looked at.
        """
        names = [one.name for one in self.objectives]
        with self._lock:
            known, told = self._known(rung, None), self._told.setdefault(rung, {})
            rows, news = self._rows[rung], self._news.pop(rung, {})
            look = ROWS_OF_A_LOOK * max(len(news), 1)
            if whole or len(known) <= look:
                among = {*known, *told}
            else:
                turn = self._turns[rung]
                self._turns[rung] = (turn + look) % len(rows)
                others = (rows[(turn + k) % len(rows)] for k in range(look))
                among = {one.measurement.request.variant_id for one in others}
                among |= {*news, *known.front()}
            moved: Beliefs = {}
            believed = known.each_once(one for one in among if one in known)
            for one in among:
                found, before = believed.get(one, {}), told.get(one)
                now = {name: found[name] for name in names if name in found}
                if (now or before is not None) and not _are_same(before, now):
                    moved[one] = now
                    told[one] = now
                    if one not in known:
                        del told[one]
            return moved

    def candidates(
        self, rung: str, as_of: int | None = None, newest: int | None = None
    ) -> list[Candidate]:
        """The front and the `newest` last measured (None: all) of those that may be parents.

        In the order of first measurement.
        """
        with self._lock:
            known = self._known(rung, as_of)
            front = set(known.front())
            if self.seed_id not in known:
                return []
            (seed,), chosen, left = (
                known.each_once([self.seed_id]).values(),
                list[Candidate](),
                newest,
            )
            waiting = set(front)

            def taken(variant_id: str) -> bool:
                waiting.discard(variant_id)
                if variant_id in self._left_out:
                    return False
                (found,) = known.each_once([variant_id]).values()
                if not admissible(found, self.objectives, seed):
                    return False
                chosen.append(
                    Candidate(
                        variant_id=variant_id,
                        values=tuple(one.to_minimise(found) for one in self.objectives),
                        on_front=variant_id in front,
                        violation=violation(found, self.constraints, seed),
                        sd=_known_sd(found[self.objectives[0].name]),
                    )
                )
                return True

            for variant_id in reversed(known):
                if left == 0:
                    break
                left = left - 1 if taken(variant_id) and left else left
            for variant_id in sorted(waiting, key=known.place_of, reverse=True):
                taken(variant_id)
            return chosen[::-1]


def _id_of(row: MeasurementRow) -> int:
    return row.id


def _are_same(before: Mapping[str, Estimate] | None, now: Mapping[str, Estimate]) -> bool:
    """Whether both say the same of each metric; two sds that are not known are the same."""
    return (
        before is not None
        and before.keys() == now.keys()
        and all(_is_same(one, now[name]) for name, one in before.items())
    )


def _is_same(one: Estimate, other: Estimate) -> bool:
    nans = math.isnan(one.sd) and math.isnan(other.sd)
    return one.mean == other.mean and one.n == other.n and (nans or one.sd == other.sd)


def _known_sd(one: Estimate) -> float:
    return one.sd if math.isfinite(one.sd) else 0.0
