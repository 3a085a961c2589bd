"""The proposal lane's work: from what is known to one proposed child, checked before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from evo.campaign.tally import Tally
from operators.operator import (
    Draft,
    Kin,
    Operator,
    ParentView,
    ProposalFailed,
    Request,
    Scene,
    Tried,
)
from operators.portfolio import Portfolio
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import first_proposal, source_of
from population.selection import (
    Candidate,
    SelectionSettings,
    choose_pair,
    choose_parents,
    population,
)
from population.store import Store
from population.variant import Cost, Outcome, Parent, Proposal, Variant, variant_id

IDEA_CHARACTERS = 400
TRIED_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a proposer is told once: the campaign's seed number, its brief, and the rung in words."""

    campaign_seed: int
    brief: str
    rung: str
    rung_words: str


class Proposer:
    """Makes proposals: portfolio picks an operator, selection its parents, the operator a draft."""

    def __init__(
        self,
        portfolio: Portfolio,
        tally: Tally,
        lineage: Lineage,
        selection: SelectionSettings,
        open_store: Callable[[], Store],
        check_source: Callable[[str], str | None],
        surroundings: Surroundings,
    ) -> None:
        self._portfolio = portfolio
        self._tally = tally
        self._lineage = lineage
        self._selection = selection
        self._open_store = open_store
        self._check_source = check_source
        self._at = surroundings

    def rests(self) -> bool:
        """Whether every operator waits for its model."""
        return self._portfolio.rests()

    def propose(self, number: int, upto: int | None) -> Proposal:
        """Proposal `number`, made from the measurements with ids up to `upto` (None: all)."""
        started = time.monotonic()
        rng = np.random.default_rng(np.random.SeedSequence([self._at.campaign_seed, number]))
        seen = upto if upto is not None else self._tally.last_id()
        with self._open_store() as store:
            people = self._population(upto)
            operator = self._portfolio.choose(rng, lambda one: self._can(one, people))
            if operator is None:
                return Proposal(
                    number, "none", (), Outcome.FAILED, "no operator can work here", seen=seen
                )
            parents = self._parents(operator, people, rng)
            request = Request(
                number, self._views(store, parents, upto), rng, self._scene(store, parents, upto)
            )
            try:
                draft = operator.propose(request)
            except ProposalFailed as failure:
                cost = _timed(failure.cost, started)
                return Proposal(
                    number, operator.name, parents, Outcome.FAILED, one_line(failure.reason),
                    model=failure.model, cost=cost, seen=seen,
                )  # fmt: skip
        return self._judge(number, operator, parents, draft, seen, started)

    def _population(self, upto: int | None) -> list[Candidate]:
        newest = self._selection.population
        known = self._tally.candidates(self._at.rung, upto, newest)
        return population(known, self._selection)

    def _can(self, operator: Operator, people: list[Candidate]) -> bool:
        if operator.kin is Kin.ONE:
            return True
        ids = [one.variant_id for one in people]
        return any(self._unrelated(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :])

    def _unrelated(self, first: str, second: str) -> bool:
        return first != second and not (
            self._lineage.descends(first, second) or self._lineage.descends(second, first)
        )

    def _parents(
        self, operator: Operator, people: list[Candidate], rng: np.random.Generator
    ) -> tuple[Parent, ...]:
        if not people:
            return (Parent(self._tally.seed_id, "parent"),)
        if operator.kin is Kin.ONE:
            return (Parent(choose_parents(people, 1, rng)[0].variant_id, "parent"),)
        pair = choose_pair(people, lambda a, b: self._unrelated(a.variant_id, b.variant_id), rng)
        assert pair is not None, "_can() found an eligible pair"
        first, second = (one.variant_id for one in pair)
        ancestor = self._lineage.lowest_common_ancestor(first, second)
        assert ancestor is not None, "every variant descends from the seed"
        return (Parent(first, "first"), Parent(second, "second"), Parent(ancestor, "ancestor"))

    def _views(
        self, store: Store, parents: tuple[Parent, ...], upto: int | None
    ) -> tuple[ParentView, ...]:
        return tuple(
            ParentView(
                parent.variant_id,
                parent.role,
                source_of(store, parent.variant_id),
                self._tally.believed(parent.variant_id, self._at.rung, upto),
            )
            for parent in parents
        )

    def _scene(self, store: Store, parents: tuple[Parent, ...], upto: int | None) -> Scene:
        objective = self._tally.objectives[0].name
        tried = []
        for parent in parents:
            for child in self._lineage.children_of(parent.variant_id)[-TRIED_SHOWN:]:
                made = first_proposal(store, child)
                rows = self._tally.rows(self._at.rung, upto, variant_id=child)
                if made is not None and rows:
                    effect = self._effect(child, parent.variant_id, objective, upto)
                    status = rows[-1].measurement.status
                    tried.append(Tried(made.idea, made.operator, status.value, effect))
        return Scene(
            brief=self._at.brief,
            objectives=tuple(one.name for one in self._tally.objectives),
            noise_sd=self._tally.noise_sd(self._at.rung, objective, upto),
            rung=self._at.rung_words,
            tried=tuple(tried[-TRIED_SHOWN:]),
        )

    def _effect(self, child: str, parent: str, objective: str, upto: int | None) -> float | None:
        """Child minus parent in an objective; None without both."""
        rung = self._at.rung
        mine, theirs = (
            self._tally.believed(one, rung, upto).get(objective) for one in (child, parent)
        )
        return None if mine is None or theirs is None else mine.mean - theirs.mean

    def _judge(
        self,
        number: int,
        operator: Operator,
        parents: tuple[Parent, ...],
        draft: Draft,
        seen: int,
        started: float,
    ) -> Proposal:
        outcome, variant = Outcome.VARIANT, None
        reason = self._check_source(draft.source) or ""
        if reason:
            outcome = Outcome.INVALID
        else:
            variant = Variant(variant_id(draft.source), draft.source, fingerprint(draft.source))
        return Proposal(
            number,
            operator.name,
            parents,
            outcome,
            one_line(reason),
            variant,
            one_line(draft.idea),
            draft.author,
            draft.model,
            _timed(draft.cost, started),
            seen,
        )


def one_line(text: str, most: int = IDEA_CHARACTERS) -> str:
    """Foreign text as one printable line, shortened: it ends up on terminals and in prompts."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(printable.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _timed(cost: Cost, started: float) -> Cost:
    return replace(cost, seconds=time.monotonic() - started)
