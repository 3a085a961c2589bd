"""What the free slot does next: the campaign's phases in order, and the policy's duties in each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from evo.campaign.deciding import Decisions
from evo.campaign.parts import LoopSettings, Parts
from evo.campaign.policy import given_up
from evo.campaign.proposal_lane import ProposalLane
from evo.campaign.tally import Key
from population.variant import Order, Purpose

RACING = frozenset({Purpose.RACE, Purpose.POST})
SEARCHING = frozenset(Purpose) - {Purpose.FINAL, Purpose.POST, Purpose.GRADUATE}


class NextRuns:
    """Chooses runs by what is recorded and what is `under_way`. To be called with `shared.changed` held."""

    def __init__(
        self,
        parts: Parts,
        settings: LoopSettings,
        children: ProposalLane,
        decisions: Decisions,
        under_way: Mapping[Key, Order],
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._children = children
        self._decisions = decisions
        self._under_way = under_way

    def choose(self) -> tuple[Order, ...]:
        """The policy's duties in order; a later phase waits until the earlier one is recorded."""
        policy, taken = self._parts.policy, self.is_taken
        order = policy.calibrate(taken)
        if order is not None:
            return (order,)
        if not self.search_is_over():
            return self._choose_search()
        if not self._settings.finish:
            return ()
        if self._is_under_way(SEARCHING - RACING):
            return self._go_ahead()
        published = self._parts.certification.next_post(taken)
        if published or self._is_under_way({Purpose.POST}):
            return published or self._go_ahead()
        orders = self._race_leaders() or self._race(at_end=self._settings.search)
        if orders or self._is_under_way({Purpose.RACE}):
            return orders or self._go_ahead()
        self._decisions.tell(policy.begin_final(self._champion()))
        order = policy.final(taken)
        if order is not None:
            return (order,)
        return self._go_ahead() if self._is_under_way({Purpose.FINAL}) else self._climb()

    def search_is_over(self) -> bool:
        """Whether no child is left to train, and none will come."""
        children = self._children
        nothing_waits = not children.ready or children.out_of_time
        return bool(children.closed) and children.idle and nothing_waits

    def is_taken(self, key: Key) -> bool:
        """Whether this run is under way, recorded or given up."""
        tally = self._parts.tally
        return key in self._under_way or tally.measured(key) or given_up(tally, key)

    def _go_ahead(self) -> tuple[Order, ...]:
        """What the ladder needs anyway, while it is not yet known who goes up."""
        order = self._parts.graduation.ahead(self.is_taken)
        return (order,) if order is not None else ()

    def _climb(self) -> tuple[Order, ...]:
        """The next run up the ladder, after what is due to be decided."""
        graduation = self._parts.graduation
        while decisions := graduation.decide():
            self._decisions.tell_ladder(decisions)
        order = graduation.next_order(self.is_taken)
        return (order,) if order is not None else ()

    def _choose_search(self) -> tuple[Order, ...]:
        policy, exact = self._parts.policy, self._settings.exact
        # An exact campaign decides only once the next child is known, so that timing decides nothing.
        if exact and (self._is_under_way(SEARCHING) or not self._children.ready):
            return ()
        order = policy.reference(self.is_taken)
        if order is not None:
            return (order,)
        if not self._is_under_way(RACING):  # one pair at a time: children go on
            pair = self._parts.certification.next_post(self.is_taken) or self._race(at_end=False)
            if pair:
                return pair
        order = policy.search(self._children.ready, self.is_taken)
        return (order,) if order is not None else ()

    def _race_leaders(self) -> tuple[Order, ...]:
        """The next run of the leaders' race; the challenge that the search left is ended first."""
        if self._parts.certification.race is not None:
            return ()
        begun, order = self._parts.policy.race_leaders(self.is_taken)
        self._decisions.tell(begun)
        return (order,) if order is not None else ()

    def _race(self, at_end: bool) -> tuple[Order, ...]:
        """The next pair of the challenge under way, or of one that begins now."""
        certification, leaders = self._parts.certification, self._parts.policy.leaders
        if at_end and certification.race is None and self._is_under_way({Purpose.RACE}):
            return ()  # the leaders still run: who challenges is not known yet
        self._decisions.tell(certification.begin(at_end, leaders.winner() if at_end else None))
        race, vetoed = certification.race, self._parts.graduation.ladder.vetoed
        dropped = race is not None and race.challenger in vetoed
        pair = () if dropped else certification.next_pair(self.is_taken)
        if not pair and not self._is_under_way({Purpose.RACE}):
            self._decisions.tell(certification.settle(idle=True))
        return pair

    def _champion(self) -> str:
        """Whom the last race left on top, the vetoed left out."""
        vetoed, seed_id = self._parts.graduation.ladder.vetoed, self._parts.tally.seed_id
        proven = [one for one in self._parts.certification.certified if one not in vetoed]
        return proven[-1] if proven else seed_id

    def _is_under_way(self, purposes: Collection[Purpose]) -> bool:
        return any(order.purpose in purposes for order in self._under_way.values())
