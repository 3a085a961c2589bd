"""The proposal lane's work: from what is known to one proposed child, checked before anything is trained."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from evo.proposals.context import CampaignInfo, ContextBuilder
from evo.proposals.history import CampaignHistory, histories
from evo.proposals.ideas import Judge
from evo.proposals.rewards import Question, RewardHistory
from operators.operator import Draft, Operator, ParentRule, ProposalFailed, Request
from operators.portfolio import Portfolio
from operators.registry import CLASSICAL, CONTROLS
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import first_proposal, unmeasured_proposals
from population.reading.memory import JudgedIdea, recorded, repairs_of
from population.run_history import RunHistory
from population.selection import (
    NEWEST,
    THIRD_PARENT_SHARE,
    Candidate,
    SelectionSettings,
    choose_pair,
    choose_parents,
    choose_third,
    population,
    within_reach,
)
from population.store import Store
from population.types import (
    MAX_TEXT_CHARS,
    OURSELVES,
    REPAIR,
    Cost,
    Measurement,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    Status,
    Variant,
    variant_id,
)

IDEA_CHARACTERS = 400
BOLD = frozenset(
    {"llm_rewrite"}
)  # of any parent: what it changes may gain more than an edit usually does
NOBODY = "no operator can work here"
SAME_ANSWER = "not asked: the model gave the same useless answer to it again and again"
MAX_DRAWS = 8  # of parents, to find some that are not being asked about


class Proposes(Protocol):
    """Makes proposal `number` from measurements with ids up to `as_of` (None: all)."""

    def propose(self, number: int, as_of: int | None, may_ask: bool = True) -> Proposal:
        """The proposal, whatever its outcome; without `may_ask` no operator that waits for a model."""
        ...

    def judge(
        self, number: int, operator: str, parents: tuple[Parent, ...], draft: Draft
    ) -> Proposal:
        """The outcome of a draft that is there already, checked like any other."""
        ...

    def is_unavailable(self, may_ask: bool = True) -> bool:
        """Whether nothing can be proposed now: every operator waits for its model, or may not ask one."""
        ...

    def answers_awaited(self) -> list[float]:
        """For how many seconds each model or program that was asked has not answered yet."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A model or a program that works on a proposal: since when, as time.monotonic() has it."""

    operator: str
    parents: tuple[Parent, ...]
    since: float


@dataclass(frozen=True, slots=True)
class Pool:
    """What a proposal may be made from, by the measurements up to `as_of`: parents, and failed children."""

    candidates: list[Candidate]
    failed: list[tuple[Parent, ...]]
    history: CampaignHistory
    as_of: int | None
    stuck: frozenset[Question] = frozenset()  # what a model has no other answer to


def is_classical(operator: Operator) -> bool:
    """Whether it waits for no model and no program."""
    return operator.name in CLASSICAL or operator.name in CONTROLS


class Proposer:
    """Makes proposals: portfolio picks an operator, selection its parents, the operator a draft.

    Any number of threads may wait for models; only one at a time works. Python runs one thread at once
    anyway, and many that compute would keep the one that serves the slots from its turn.
    """

    def __init__(
        self,
        portfolio: Portfolio,
        run_history: RunHistory,
        lineage: Lineage,
        selection: SelectionSettings,
        open_store: Callable[[], Store],
        check_source: Callable[[str], str | None],
        campaign_info: CampaignInfo,
        exact: bool = False,
        candidates: Callable[[int | None], list[Candidate]] | None = None,
        third_parent_share: float = THIRD_PARENT_SHARE,
        turn: threading.Lock | None = None,
    ) -> None:
        self._candidates = (
            candidates or self._population
        )  # who may be a parent; nobody: the seed is
        self._portfolio = portfolio
        self._run_history = run_history
        self._lineage = lineage
        self._third_parent_share = third_parent_share
        self._primary_share = selection.primary_share
        self._open_store = open_store
        self._check_source = check_source
        self._at = campaign_info
        self._context_builder = ContextBuilder(run_history, lineage, campaign_info)
        self._repairs = Repairs(run_history, lineage, campaign_info.rung)
        self._rewards = RewardHistory(portfolio, run_history, campaign_info.rung, exact)
        at = campaign_info
        self._history = histories(run_history, lineage, at.rung, at.budget, at.ranges)
        self._turn = threading.Lock() if turn is None else turn  # shared by those of one process
        self._asked: dict[int, Asked] = {}  # by proposal
        self._repaired: dict[int, Asked] = {}  # answered, and perhaps not recorded yet

    def is_unavailable(self, may_ask: bool = True) -> bool:
        """Whether every operator waits for its model; without `may_ask`, whether none works alone."""
        return (
            self._portfolio.is_unavailable()
            if may_ask
            else self._portfolio.is_unavailable(self._works_alone)
        )

    def answers_awaited(self) -> list[float]:
        """For how many seconds each model or program that was asked has not answered yet."""
        now = time.monotonic()
        return [now - one.since for one in list(self._asked.values())]

    def propose(self, number: int, as_of: int | None, may_ask: bool = True) -> Proposal:
        """Proposal `number`, made from the measurements with ids up to `as_of` (None: all).

        `may_ask`: whether it may wait for a model. Its cost counts from the moment that it was its turn.
        """
        with self._turn:
            return self._propose(number, as_of, may_ask)

    def _propose(self, number: int, as_of: int | None, may_ask: bool) -> Proposal:
        started = time.monotonic()
        rng = np.random.default_rng(np.random.SeedSequence([self._at.campaign_seed, number]))
        # What is told is told as of one row, so that no run that ends meanwhile gives an edit two numbers.
        seen = as_of if as_of is not None else self._run_history.last_id()
        with self._open_store() as store:
            candidates = self._candidates(as_of)
            failed = self._failed(store, number, as_of)
            rewards, history = self._rewards(store, as_of), self._history(store, seen)
            pool = Pool(candidates, failed, history, as_of, self._rewards.stuck(store))

            def can(one: Operator) -> bool:
                return (may_ask or is_classical(one)) and self._can(one, pool)

            choice = self._portfolio.choose(rng, can, rewards)
            if choice is None:
                # another proposal took the only turn of a model that rests
                rests = any(can(one) for one in self._portfolio.operators)
                reason = "every operator that can work here rests" if rests else NOBODY
                return Proposal(
                    number, "none", (), Outcome.FAILED, reason, seen=seen, resting=rests
                )
            operator = choice.operator
            parents = self._parents_not_asked_about(operator, pool, rng)
            if (operator.name, parents) in pool.stuck:
                return Proposal(
                    number, operator.name, parents, Outcome.FAILED, SAME_ANSWER,
                    author=choice.endpoint or OURSELVES, seen=seen,
                )  # fmt: skip
            views = self._context_builder.views(store, parents, seen)
            awaited = [one.operator for one in self._asked.values() if one.parents == parents]
            context = self._context_builder.context(store, parents, views, seen, awaited)
            request = Request(number, views, rng, context, choice.endpoint, history)
            try:
                draft = self._drafted(operator, request, parents)
            except ProposalFailed as failure:
                cost = _timed(failure.cost, started)
                return Proposal(
                    number, operator.name, parents, Outcome.FAILED, one_line(failure.reason),
                    author=choice.endpoint or OURSELVES, model=failure.model, cost=cost, seen=seen,
                    resting=failure.resting,
                )  # fmt: skip
        return self.judge(number, operator.name, parents, draft, seen, started)

    def _drafted(self, operator: Operator, request: Request, parents: tuple[Parent, ...]) -> Draft:
        """The operator's draft; one that may wait for a model or a program lets others work."""
        if is_classical(operator):
            return operator.propose(request)
        self._asked[request.number] = Asked(operator.name, parents, time.monotonic())
        self._turn.release()
        try:
            return operator.propose(request)
        finally:
            self._turn.acquire()
            asked = self._asked.pop(request.number)
            if operator.name == REPAIR:
                self._repaired[request.number] = asked

    def _works_alone(self, operator: Operator) -> bool:
        """Whether it can make children at any time, without a model and from one parent."""
        controls = self._portfolio.controls
        return (
            is_classical(operator)
            and operator.parent_rule is ParentRule.ONE
            and operator.name not in controls
        )

    def _population(self, as_of: int | None) -> list[Candidate]:
        return population(self._run_history.candidates(self._at.rung, as_of, NEWEST))

    def _failed(self, store: Store, number: int, as_of: int | None) -> list[tuple[Parent, ...]]:
        """The parents for each repair that is worth a try; none are looked for when nobody repairs."""
        if all(one.parent_rule is not ParentRule.FAILED for one in self._portfolio.operators):
            return []
        for known in recorded(store, self._repaired):
            del self._repaired[known]
        asked = [one for one in self._asked.values() if one.operator == REPAIR]
        asked += self._repaired.values()
        under_repair = {one.parents[0].variant_id for one in asked}
        return self._repairs.waiting(store, number, as_of, under_repair)

    def _can(self, operator: Operator, pool: Pool) -> bool:
        if operator.parent_rule is ParentRule.ONE:
            ids = [one.variant_id for one in pool.candidates] or [self._run_history.seed_id]
            return any((operator.name, (Parent(one, "parent"),)) not in pool.stuck for one in ids)
        if operator.parent_rule is ParentRule.TUNED:
            return any(pool.history.is_tuned(one.variant_id) for one in pool.candidates)
        if operator.parent_rule is ParentRule.FAILED:
            return bool(pool.failed)
        if operator.parent_rule is ParentRule.LINE:
            return any(self._has_line(one) for one in pool.candidates)
        ids = [one.variant_id for one in pool.candidates]
        return any(self._unrelated(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :])

    def _has_line(self, one: Candidate) -> bool:
        return self._lineage.edits_from_seed(one.variant_id) >= 2

    def _unrelated(self, first: str, second: str) -> bool:
        return first != second and not (
            self._lineage.descends(first, second) or self._lineage.descends(second, first)
        )

    def _parents_not_asked_about(
        self, operator: Operator, pool: Pool, rng: np.random.Generator
    ) -> tuple[Parent, ...]:
        """Parents, where there is a choice others than those that this operator awaits an answer about.

        Nor those about which a model says the same over and over.
        """
        awaited = {one.parents for one in self._asked.values() if one.operator == operator.name}
        awaited |= {parents for name, parents in pool.stuck if name == operator.name}
        parents = self._parents(operator, pool, rng)
        for _ in range(MAX_DRAWS if awaited else 0):
            if parents not in awaited:
                break
            parents = self._parents(operator, pool, rng)
        return parents

    def _parents(
        self, operator: Operator, pool: Pool, rng: np.random.Generator
    ) -> tuple[Parent, ...]:
        candidates = pool.candidates
        if operator.parent_rule is ParentRule.FAILED:
            return pool.failed[int(rng.integers(len(pool.failed)))]
        if not candidates:
            return (Parent(self._run_history.seed_id, "parent"),)
        if operator.parent_rule is ParentRule.LINE:
            candidates = [one for one in candidates if self._has_line(one)]
        if operator.parent_rule is ParentRule.TUNED:
            candidates = [one for one in candidates if pool.history.is_tuned(one.variant_id)]
        if operator.parent_rule not in (ParentRule.PAIR, ParentRule.SEVERAL):
            candidates = self._worth_an_edit(operator, candidates, pool.as_of)
            (one,) = choose_parents(candidates, 1, rng, primary_share=self._primary_share)
            return (Parent(one.variant_id, "parent"),)
        chosen = self._pair(candidates, rng)
        if operator.parent_rule is ParentRule.SEVERAL and rng.random() < self._third_parent_share:
            chosen = self._with_third(candidates, chosen, rng)
        ancestor = self._lineage.lowest_common_ancestor(*chosen)
        assert ancestor is not None, "every variant descends from the seed"
        named = zip(chosen, ("first", "second", "third"), strict=False)
        return (*(Parent(one, role) for one, role in named), Parent(ancestor, "ancestor"))

    def _worth_an_edit(
        self, operator: Operator, candidates: list[Candidate], as_of: int | None
    ) -> list[Candidate]:
        """Without those farther behind than this operator's edits usually gain, but for those with a niche."""
        gain = self._run_history.usual_gain(self._at.rung, operator.name, as_of)
        return (
            candidates if gain is None or operator.name in BOLD else within_reach(candidates, gain)
        )

    def _pair(self, candidates: list[Candidate], rng: np.random.Generator) -> tuple[str, ...]:
        pair = choose_pair(
            candidates,
            lambda a, b: self._unrelated(a.variant_id, b.variant_id),
            rng,
            primary_share=self._primary_share,
        )
        assert pair is not None, "_can() found an eligible pair"
        return tuple(one.variant_id for one in pair)

    def _with_third(
        self, candidates: list[Candidate], pair: tuple[str, ...], rng: np.random.Generator
    ) -> tuple[str, ...]:
        """The pair and a third that parted from both where they parted, if there is one.

        So no edit is in two of them: each one's diff is its own, and their effects add up.
        """
        parted = self._lineage.lowest_common_ancestor(*pair)

        def apart(one: Candidate) -> bool:
            return all(
                self._unrelated(one.variant_id, other)
                and self._lineage.lowest_common_ancestor(one.variant_id, other) == parted
                for other in pair
            )

        third = choose_third(candidates, apart, rng, primary_share=self._primary_share)
        return pair if third is None else (*pair, third.variant_id)

    def judge(
        self,
        number: int,
        operator: str,
        parents: tuple[Parent, ...],
        draft: Draft,
        seen: int | None = None,
        started: float | None = None,
    ) -> Proposal:
        """The proposal that a draft makes once it is checked; `started` as time.monotonic() has it."""
        started = time.monotonic() if started is None else started
        outcome, variant = Outcome.VARIANT, None
        reason = self._check_source(draft.source) or ""
        if reason:
            outcome = Outcome.INVALID
        else:
            variant = Variant(variant_id(draft.source), draft.source, fingerprint(draft.source))
        return Proposal(
            number,
            operator,
            parents,
            outcome,
            one_line(reason),
            variant,
            one_line(draft.idea, MAX_TEXT_CHARS),
            draft.author,
            draft.model,
            _timed(draft.cost, started),
            self._run_history.last_id() if seen is None else seen,
            draft.idea_id,
            draft.origin,
        )


def one_line(text: str, most: int = IDEA_CHARACTERS) -> str:
    """Foreign text as one printable line, shortened: it ends up on terminals and in prompts."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(printable.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _timed(cost: Cost, started: float) -> Cost:
    return replace(cost, seconds=time.monotonic() - started)


# -- Which failed children are worth a repair: somebody's idea that is not beaten, few tries.


TRIES = 2  # repairs of one failed child, those without a result counted
DEEPEST = 2  # repairs of repairs
RECENT = 20  # of the last failures, older ones are left alone
WORSE = 2.0  # standard errors: an idea whose other children lose by more is given up
MENDABLE = {
    Status.CRASHED,
    Status.TIMED_OUT,
    Status.DIVERGED,
    Status.OUT_OF_MEMORY,
    Status.REJECTED,
}


class Repairs:
    """Finds the failed children at a rung that `llm_repair` may take."""

    def __init__(self, run_history: RunHistory, lineage: Lineage, rung: str) -> None:
        self._run_history, self._rung = run_history, rung
        self._judge = Judge(run_history, lineage, rung)

    def waiting(
        self, store: Store, number: int, as_of: int | None, under_repair: Collection[str] = ()
    ) -> list[tuple[Parent, ...]]:
        """The failed child with what it was made from, for each repair that may be tried now.

        `number` is the proposal's; with `as_of` later ones count for nothing. Of one cause one child is
        repaired at a time: those `under_repair` now, and those whose repair is not measured yet, keep their
        likes waiting.
        """
        screens = self._run_history.rows(self._rung, as_of, {Purpose.SCREEN})
        failed = {
            row.measurement.request.variant_id: _cause(row.measurement)
            for row in [one for one in screens if one.measurement.status in MENDABLE][-RECENT:]
        }
        if not failed:
            return []
        given_up = {one.id for one in self._judge.ideas(store, as_of) if _is_worse(one)}
        made = unmeasured_proposals(store, self._rung, as_of, RECENT)
        busy = {
            *under_repair,
            *(one.parents[0].variant_id for one in made if one.operator == REPAIR),
        }
        causes = {cause for one, cause in failed.items() if one in busy}
        found = (
            self._parents(store, one, number, as_of, given_up)
            for one, cause in failed.items()
            if cause not in causes
        )
        return [one for one in found if one is not None]

    def _parents(
        self,
        store: Store,
        variant_id: str,
        number: int,
        as_of: int | None,
        given_up: Collection[int],
    ) -> tuple[Parent, ...] | None:
        made = first_proposal(store, variant_id)
        if made is None or not made.parents:
            return None
        if made.author == OURSELVES and made.idea_id is None:  # nobody's idea: constants, a merge
            return None
        if made.idea_id in given_up or self._run_history.believed(variant_id, self._rung, as_of):
            return None
        before = None if as_of is None else number
        if len(repairs_of(store, variant_id, before)) >= TRIES:
            return None
        worked, depth = made.parents[0].variant_id, 0
        while not self._run_history.believed(worked, self._rung, as_of):
            above = first_proposal(store, worked)
            depth += 1
            if depth >= DEEPEST or above is None or not above.parents:
                return None
            worked = above.parents[0].variant_id
        return (Parent(variant_id, "parent"), Parent(worked, "ancestor"))


def _cause(failed: Measurement) -> tuple[Status, str]:
    """What a run failed of, whatever its numbers were."""
    return failed.status, re.sub(r"[0-9]+", "#", failed.reason)


def _is_worse(one: JudgedIdea) -> bool:
    if one.effect is None or one.effect_se is None:
        return False
    return one.effect > WORSE * one.effect_se and one.effect > 0
