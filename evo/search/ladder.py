"""One campaign's way up the ladder: what to decide next, what to run next, and what waits for approval.

A variant climbs like this. It is chosen as one of the best of the front (a decision). It runs at the proxy
on blocks that played no part in that. At the rung above it is built for one step; if that works, and a
person said yes where one has to, it runs there on its blocks, as do the seed and the controls. Of those
who finished, the better part is chosen for the next rung, and so on to the target. The best there brings
its ancestors after it, and may be trained with shares of the budget. Nobody waits for another, except
where a choice needs all its candidates. Everything here follows from the decisions and the history's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any

from evo.search.ladder_choices import (
    best_of_front,
    draw_controls,
    gain_at,
    middle,
    promoted_ancestors,
)
from evo.search.ladder_settings import SHARE_BLOCKS, GraduationSettings, Promotion, share_names
from population.ladder import (
    CHOSEN,
    REACHING,
    UNVETOED,
    Choice,
    Ladder,
    LadderEntry,
    LadderState,
    Role,
)
from population.lineage import Lineage
from population.run_history import RunHistory
from population.types import (
    GRADUATING,
    ONE_STEP,
    Decision,
    Measurement,
    Purpose,
    RunKey,
    RunRequest,
    Status,
)

Taken = Callable[[RunKey], bool]


class Graduation:
    """The ladder of one campaign, the proxy first in `rungs`; `ladder` is what was decided before."""

    def __init__(
        self,
        settings: GraduationSettings,
        history: RunHistory,
        lineage: Lineage,
        rungs: Sequence[str],
        campaign_seed: int = 0,
        certified: Callable[[], Collection[str]] = tuple,
        ladder: Ladder | None = None,
    ) -> None:
        self._settings = settings
        self._history = history
        self._lineage = lineage
        self._proxy, *self._upper = rungs
        self._campaign_seed = campaign_seed
        self._certified = certified
        self.ladder = ladder or Ladder()
        self.ladder.constraints = history.constraints

    # -- what to decide ------------------------------------------------------------------------------------

    def decide(self) -> list[Decision]:
        """What is due now, to be recorded together; empty when nothing is."""
        if not self._upper or not self._settings.graduates:
            return []
        found = self._choose_first()
        for below, rung in zip(self._upper, self._upper[1:], strict=False):
            found = found or self._choose_further(below, rung)
        return found or self._choose_ancestors() or self._choose_reaching()

    def _choose_first(self) -> list[Decision]:
        """The best of the front and the controls, once the search is over and again when it went on."""
        rung, settings = self._upper[0], self._settings
        screens = self._history.rows(self._proxy, purposes={Purpose.SCREEN})
        basis = {"seen": screens[-1].id if screens else 0}
        basis |= {"graduates": settings.graduates, "controls": settings.controls}
        now = self.ladder.choice(rung)
        if now is not None and not self._is_outdated(now, basis):
            return []
        front = best_of_front(
            self._history, self._proxy, self._certified(), self._lineage.lineage_root
        )
        fit = (one for one in front if one not in self.ladder.vetoed and self._may_build(one, rung))
        picks = list(islice(fit, settings.graduates))
        if not picks:
            return []
        number = 1 if now is None else now.number + 1
        kept = [] if now is None else [one.variant_id for one in now.having(Role.CONTROL)]
        vetoed = self.ladder.vetoed
        kept = [one for one in kept if one not in vetoed and one not in picks][: settings.controls]
        others = middle(self._history, self._proxy, {*picks, *kept, *vetoed})
        missing = settings.controls - len(kept)
        controls = kept + draw_controls(others, missing, self._campaign_seed, number)
        return self._chosen(rung, number, picks, controls, basis)

    def _is_outdated(self, choice: Choice, basis: dict[str, int]) -> bool:
        before = choice.basis
        vetoed = any(one.variant_id in self.ladder.vetoed for one in choice.climbers)
        graduates = choice.having(Role.GRADUATE)
        unfit = any(not self._may_build(one.variant_id, one.rung) for one in graduates)
        return vetoed or unfit or any(basis[name] > before[name] for name in basis)

    def _may_build(self, variant_id: str, rung: str) -> bool:
        """Whether it builds at a rung, or that is not known; a seed that does not says nothing of others."""
        mine, seed = self._built(variant_id, rung), self._built(self._history.seed_id, rung)
        return (
            seed is None or seed.status is not Status.OK or not self.ladder.misfit(mine, seed, rung)
        )

    def _choose_further(self, below: str, rung: str) -> list[Decision]:
        """The better part of those who finished the rung below, once nobody there has more to run."""
        before, now = self.ladder.choice(below), self.ladder.choice(rung)
        ranked = self._ranked(below)
        if before is None or not ranked:
            return []
        basis = {"among": sorted(ranked)}
        if now is not None and now.basis == basis:
            return []
        picks = ranked[: self._settings.go_on_from(len(ranked))]
        beside = before.having(Role.CONTROL)
        controls = [one.variant_id for one in beside if one.variant_id not in self.ladder.vetoed]
        number = 1 if now is None else now.number + 1
        return self._chosen(rung, number, picks, controls, basis)

    def _choose_ancestors(self) -> list[Decision]:
        target = self._upper[-1]
        best, now = next(iter(self._ranked(target)), None), self.ladder.ancestors(target)
        if best is None or (now is not None and now.basis["best"] == best):
            return []
        there = {one.variant_id for one in self.ladder.climbers(target)}
        line = promoted_ancestors(self._history, self._proxy, self._lineage, best)
        new = [one for one in line if one not in there and one not in self.ladder.vetoed]
        number = 1 if now is None else now.number + 1
        return [
            self._one_chosen(one, target, Role.ANCESTOR, number, {"best": best}, beside=best)
            for one in new[: self._settings.ancestors]
        ]

    def _choose_reaching(self) -> list[Decision]:
        """The target's best, if it is better than the seed there: else it does not reach it."""
        target, shares = self._upper[-1], self._settings.budget_shares
        best = next(iter(self._ranked(target)), None) if shares else None
        if best is None or best == self.ladder.reaching or not (self._gain(target, best) or 0) > 0:
            return []
        return [Decision(REACHING, best, {"rung": target, "shares": list(shares)})]

    def _chosen(
        self,
        rung: str,
        number: int,
        picks: Sequence[str],
        controls: Sequence[str],
        basis: dict[str, Any],
    ) -> list[Decision]:
        roles = [(Role.GRADUATE, one) for one in picks] + [(Role.CONTROL, one) for one in controls]
        return [self._one_chosen(one, rung, role, number, basis) for role, one in roles]

    def _one_chosen(
        self,
        variant_id: str,
        rung: str,
        role: Role,
        number: int,
        basis: dict[str, Any],
        beside: str | None = None,
    ) -> Decision:
        """`beside`: whose fresh blocks at the proxy it shares; by default those it was given before."""
        known = self.ladder.choice(self._upper[0])
        climbers = known.climbers if known is not None else ()
        like = beside or variant_id
        block = next((one.first_block for one in climbers if one.variant_id == like), None)
        detail = {"rung": rung, "role": role.value, "choice": number, "basis": basis}
        detail["first_block"] = self._first_fresh_block() if block is None else block
        return Decision(CHOSEN, variant_id, detail)

    def _first_fresh_block(self) -> int:
        """The first of the proxy's blocks that nobody has run on."""
        return self._history.first_fresh_block(self._proxy)

    def apply(self, said: Decision) -> bool:
        """What a person said of a variant counts from now on; whether that changes anything."""
        is_seed = said.variant_id == self._history.seed_id or said.variant_id not in self._lineage
        lifts_nothing = said.kind == UNVETOED and said.variant_id not in self.ladder.vetoed
        if is_seed or lifts_nothing:
            return False
        self.take(said)
        return True

    def take(self, decision: Decision) -> None:
        """A decision counts from now on; other kinds change nothing."""
        self.ladder.take(decision.kind, decision.variant_id, decision.detail)

    # -- what to run ---------------------------------------------------------------------------------------

    def next_request(self, taken: Taken) -> RunRequest | None:
        """The next run up the ladder; None when all are under way, done, or waiting for a person."""
        return next((one for one in self._requests() if not taken(one.key)), None)

    def ahead(self, taken: Taken) -> RunRequest | None:
        """A run of the seed above the proxy that will be needed no matter who is chosen; None without any.

        For slots that are free while others still search. Only where nobody has to be asked.
        """
        certain = self._settings.graduates and self._settings.promotion is Promotion.AUTO
        front = self._history.front(self._proxy) if certain else []
        if all(one == self._history.seed_id for one in front):
            return None
        requests = (one for rung in self._upper for one in self._of_seed(rung))
        return next((one for one in requests if not taken(one.key)), None)

    def _of_seed(self, rung: str) -> Iterator[RunRequest]:
        yield self._build(self._history.seed_id, rung)
        built = self._built(self._history.seed_id, rung)
        if built is not None and built.status is Status.OK:
            yield from self._runs(self._history.seed_id, rung)

    def _requests(self) -> Iterator[RunRequest]:
        yield from self._fresh_requests()
        for rung in self._upper:
            yield from self._requests_at(rung)
        yield from self._share_requests()

    def _fresh_requests(self) -> Iterator[RunRequest]:
        """At the proxy, on blocks that chose nobody."""
        if not self._upper:
            return
        first, last = (self.ladder.climbers(self._upper[end]) for end in (0, -1))
        ancestors = [one for one in last if one.role is Role.ANCESTOR]
        for place in range(self._settings.proxy_blocks):
            for climber in (*first, *ancestors):
                for one in (self._history.seed_id, climber.variant_id):
                    block = climber.first_block + place
                    yield RunRequest(one, self._proxy, block, 0, Purpose.GRADUATE)

    def _requests_at(self, rung: str) -> Iterator[RunRequest]:
        """Builds first; those that may go up run at once, block by block with the seed and the controls."""
        climbers = self.ladder.climbers(rung)
        asked = [one for one in climbers if one.role is Role.GRADUATE]
        beside = [one for one in climbers if one.role is not Role.GRADUATE]
        if asked:
            yield from (self._build(one, rung) for one in self._with_seed(asked))
        cleared = [one for one in asked if self._state(one) is LadderState.TO_RUN]
        if not cleared:
            return
        yield from (self._build(one.variant_id, rung) for one in beside)
        cleared += [one for one in beside if self._state(one) is LadderState.TO_RUN]
        for block in range(self._settings.blocks):
            for one in self._with_seed(cleared):
                yield RunRequest(one, rung, block, 0, Purpose.GRADUATE)

    def _share_requests(self) -> Iterator[RunRequest]:
        """The best and the seed at shares of the target's budget."""
        best = self.ladder.reaching
        if best is None or best in self.ladder.vetoed or not self._settings.budget_shares:
            return
        names = [name for _, name in share_names(self._settings, self._upper[-1])]
        for block in range(SHARE_BLOCKS):
            for name in reversed(names):
                for one in (self._history.seed_id, best):
                    yield RunRequest(one, name, block, 0, Purpose.GRADUATE)

    def _with_seed(self, climbers: Sequence[LadderEntry]) -> list[str]:
        return [self._history.seed_id, *(one.variant_id for one in climbers)]

    @staticmethod
    def _build(variant_id: str, rung: str) -> RunRequest:
        return RunRequest(variant_id, rung + ONE_STEP, 0, 0, Purpose.GRADUATE)

    def _runs(self, variant_id: str, rung: str) -> list[RunRequest]:
        blocks = range(self._settings.blocks)
        return [RunRequest(variant_id, rung, block, 0, Purpose.GRADUATE) for block in blocks]

    # -- where everyone stands -----------------------------------------------------------------------------

    def waiting(self) -> list[LadderEntry]:
        """Those who only wait for a person, the lower rungs first."""
        climbers = (one for rung in self._upper for one in self.ladder.climbers(rung))
        return [one for one in climbers if self._state(one) is LadderState.WAITS]

    def _state(self, climber: LadderEntry) -> LadderState:
        manual = self._settings.promotion is not Promotion.AUTO
        mine = self._built(climber.variant_id, climber.rung)
        seed = self._built(self._history.seed_id, climber.rung)
        return self.ladder.state(climber, mine, seed, manual, self._settings.reviewers)[0]

    def _is_open(self, climber: LadderEntry) -> bool:
        """Whether a climber or the seed beside it has still to be built or run, with no approval needed."""
        state, rung = self._state(climber), climber.rung
        pair = (climber.variant_id, self._history.seed_id)
        if state is LadderState.TO_BUILD:
            return any(not self._is_settled(self._build(one, rung)) for one in pair)
        return state is LadderState.TO_RUN and any(
            not self._is_settled(request) for one in pair for request in self._runs(one, rung)
        )

    def _ranked(self, rung: str) -> list[str]:
        """The graduates who finished a rung, the greatest gain first; empty while one has more to run."""
        climbers = [one for one in self.ladder.climbers(rung) if one.role is Role.GRADUATE]
        if any(self._is_open(one) for one in climbers):
            return []
        gains = {one.variant_id: self._gain(rung, one.variant_id) for one in climbers}
        finished = [(-gain, one) for one, gain in gains.items() if gain is not None]
        return [one for _, one in sorted(finished)]

    def _gain(self, rung: str, variant_id: str) -> float | None:
        """Over the seed on the blocks that everyone runs on; None when a run failed or none was made."""
        rows = self._history.rows(rung, purposes=GRADUATING, variant_id=variant_id)
        if any(row.measurement.status is not Status.OK for row in rows):
            return None
        return gain_at(self._history, rung, variant_id, range(self._settings.blocks))

    def _built(self, variant_id: str, rung: str) -> Measurement | None:
        rows = self._history.rows(rung + ONE_STEP, variant_id=variant_id)
        return rows[-1].measurement if rows else None

    def _is_settled(self, request: RunRequest) -> bool:
        return self._history.is_settled(request.key)
