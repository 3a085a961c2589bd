"""The islands' proposers, taking turns: each with its own operators, brief and parents."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from evo.proposals.proposer import Proposes
from evo.search.islands import in_turn
from operators.operator import Draft
from population.islands import Island, IslandRole
from population.types import Outcome, Parent, Proposal, ProposalRow

MAX_DOUBLED = 7  # failures in a row, each of which counts as much as all before it and one child


class IslandProposers:
    """Lets the island propose that has the fewest children for its share. Thread-safe.

    Children count, those in the making too, and failures in a row as ever more of them: what fails once
    is tried again soon, and what always fails keeps nobody from a turn.
    """

    def __init__(
        self,
        proposers: Mapping[str, Proposes],
        islands: Iterable[Island],
        made: Iterable[ProposalRow] = (),
    ) -> None:
        self._proposers = dict(proposers)
        found = [one for one in islands if one.name in self._proposers]
        # at least half of a sceptic's share is for what it measures anew
        self._islands = [
            replace(one, share=one.share / 2) if one.role is IslandRole.SCEPTIC else one
            for one in found
        ]
        self._lock = threading.Lock()
        self._children: Counter[str] = Counter()  # in the making, too
        self._failures: Counter[str] = Counter()  # since the last child
        for one in made:
            self._count(one.island, one.outcome)

    def propose(self, number: int, as_of: int | None, may_ask: bool = True) -> Proposal:
        """The proposal of the island whose turn it is."""
        with self._lock:
            used = self._used()
            able = [one for one in in_turn(self._islands, used) if self._can(one.name, may_ask)]
            name = (able or in_turn(self._islands, used))[0].name
            self._children[name] += 1
        outcome = Outcome.FAILED
        try:
            made = self._proposers[name].propose(number, as_of, may_ask)
            outcome = made.outcome
            return replace(made, island=name)
        finally:
            with self._lock:
                self._children[name] -= 1
                self._count(name, outcome)

    def judge(
        self, number: int, operator: str, parents: tuple[Parent, ...], draft: Draft
    ) -> Proposal:
        """A person's draft belongs to all islands."""
        first = self._proposers[self._islands[0].name]
        return first.judge(number, operator, parents, draft)

    def is_unavailable(self, may_ask: bool = True) -> bool:
        """Whether no island can propose now."""
        return not any(self._can(one.name, may_ask) for one in self._islands)

    def answers_awaited(self) -> list[float]:
        """Of all islands together."""
        return [one for name in self._proposers for one in self._proposers[name].answers_awaited()]

    def _used(self) -> dict[str, float]:
        """What counts against each: its children, and the more for each failure in a row."""
        return {
            one.name: self._children[one.name]
            + 2.0 ** min(self._failures[one.name], MAX_DOUBLED)
            - 1
            for one in self._islands
        }

    def _can(self, name: str, may_ask: bool) -> bool:
        return not self._proposers[name].is_unavailable(may_ask)

    def _count(self, name: str, outcome: Outcome) -> None:
        if outcome is Outcome.VARIANT:
            self._children[name] += 1
            self._failures[name] = 0
        else:
            self._failures[name] += 1
