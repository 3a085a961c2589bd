"""The proposal lane: children are made ahead of need, in threads, so that no slot waits for an operator."""

from __future__ import annotations

import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from evo.runtime.components import Components, LoopSettings, ReadyQueue, Shared, Stop
from evo.search.halting import reason_of
from evo.search.proposal_flow import MAX_IN_FLIGHT, ProposalFlow, RecentSeconds, Wanted
from operators.llm.answer import one_line
from operators.replicate import NAME as REPLICATE
from population.reading import proposals, repeated, unmeasured
from population.store import Store
from population.types import OURSELVES, Outcome, Proposal, Purpose, RunKey, Status

GAIN = "certified_gain"  # the setting: row of the last certified gain, and the seconds run by then
FAILURES_IN_A_ROW = 60  # proposals without a child before the search closes
FIRST_WAIT_SECONDS = 0.01
MAX_WAIT_SECONDS = 10.0
MAX_WHY = 200  # characters of the reason why the last proposal gave no child


class ProposalLane:
    """The ready queue and what fills it. Its fields are guarded by `shared.changed`."""

    def __init__(self, components: Components, settings: LoopSettings, shared: Shared) -> None:
        self._components = components
        self._settings = settings
        self._shared = shared
        self._threads = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="propose")
        self._next_number = 1
        self._making: dict[int, Future[None]] = {}
        self._settled: dict[
            int, int
        ] = {}  # proposal -> the measurement that settled it, 0 for no child
        self._number_of: dict[str, int] = {}  # a waiting child's proposal
        self._fruitless = 0
        self._why_none = ""  # the last of them gave no child
        self._not_before = 0.0  # a server that is down is not asked again at once
        self._answer_seconds, self._computing_seconds = RecentSeconds(), RecentSeconds()
        self.evaluation_seconds = RecentSeconds()
        self.ready = ReadyQueue()
        self.closed = "" if settings.search else "everything asked for is measured"

    def take_up(self, store: Store) -> None:
        """Continue where the rows end: committed children that were never measured are ready again."""
        proxy = self._components.proxy
        seed_id = self._components.history.seed_id  # measured first of all, by the policy
        left_out = {seed_id, *self._components.scheduler.graduation.ladder.vetoed}
        waiting = unmeasured(store, proxy)
        left_out |= {one for one in waiting if self._is_given_up(one)}
        if self._settings.search or self._settings.finish:  # else only what was asked for is run
            self.ready.add(one for one in waiting if one not in left_out)
        rows = self._components.history.rows(proxy, purposes={Purpose.SCREEN})
        screens = {row.measurement.request.variant_id: row.id for row in rows}
        for made in proposals(store):
            number = made.number
            child = made.variant_id if made.outcome is Outcome.VARIANT else None
            self._next_number = max(self._next_number, number + 1)
            if child is None or child in screens or child in left_out:
                self._settled[number] = screens.get(child or "", 0)
            else:
                self._number_of[child] = number
        known = {*self._settled, *self._number_of.values()}
        for number in set(range(1, self._next_number)) - known:
            self._settled[number] = 0  # begun before a kill, and it left no row
        self._close_when_spent()  # at once: nothing of the search is due in one that has ended
        self._close_without_a_seed()

    def _close_without_a_seed(self) -> None:
        """Where an earlier process found that the seed has no score, nothing can be compared with it.

        What was lost was lost to a machine as it was then: a new process tries the seed anew.
        """
        history, proxy = self._components.history, self._components.proxy
        runs = [row.measurement for row in history.rows(proxy, variant_id=history.seed_id)]
        if any(one.status is Status.OK for one in runs):
            return
        if runs:
            self.close(f"the seed {runs[-1].status}: {runs[-1].reason}", instead=True)
        history.forget_losses(history.seed_id)

    def top_up(self) -> None:
        """Start as many proposals as keep the slots from waiting, and no more: children stay fresh."""
        self._close_when_spent()
        while not self.closed and self._shared.stop is Stop.NO:
            wanted = self._wanted()
            if wanted is Wanted.NOTHING:
                return
            as_of = self._visible_to(self._next_number) if self._settings.exact else None
            if self._settings.exact and (as_of is None or self._halt(as_of)):
                return
            if not self._components.budget.take_variant():
                return
            number, self._next_number = self._next_number, self._next_number + 1
            may_ask = wanted is Wanted.ANY
            self._making[number] = self._threads.submit(self._propose, number, as_of, may_ask)

    def close(self, reason: str, instead: bool = False) -> None:
        """No more children. `instead`: the reason to tell, whatever closed it before."""
        if not self.closed or (instead and self.closed != reason):
            self.closed = reason
            self._shared.say("budget", f"no more children are proposed: {reason}")

    @property
    def is_over(self) -> bool:
        """Whether no child is left to measure, and none will come."""
        limit, rules = self._components.budget.search_seconds, self._components.stop
        out_of_time = limit is not None and self._components.budget.spent().seconds >= limit
        out_of_time = out_of_time or (rules is not None and rules.is_out_of_time)
        if not self.closed or self._making:
            return False
        return out_of_time or not self.ready or self.seed_failed

    @property
    def seed_failed(self) -> bool:
        """Whether the seed has no score and gets none: then nothing can be compared."""
        return bool(self.closed) and self._components.history.seed_failed(self._components.proxy)

    def settle(self, variant_id: str, measurement_id: int) -> None:
        """A child was screened."""
        number = self._number_of.pop(variant_id, None)
        if number is not None:
            self._settled[number] = measurement_id

    def apply_veto(self, variant_id: str, vetoed: bool) -> None:
        """A vetoed child that waits is not measured any more; it waits again once the veto is lifted."""
        if vetoed:
            if self.ready.remove(variant_id):
                self.settle(variant_id, 0)
        elif self._may_wait(variant_id):
            self.ready.add([variant_id])

    def end_screen(self, variant_id: str, is_over: bool) -> None:
        """A child's first run ended: over when it is recorded or given up, else the child waits again."""
        if is_over or self._components.history.is_vetoed(variant_id):
            self.ready.remove(variant_id)  # it waited again where a veto was lifted while it ran
            self.settle(variant_id, 0)
        else:
            self.ready.put_first(variant_id)

    def _may_wait(self, variant_id: str) -> bool:
        rows = self._components.history.rows(self._components.proxy, variant_id=variant_id)
        return not rows and not self._is_given_up(variant_id)

    def _is_given_up(self, variant_id: str) -> bool:
        return self._components.history.is_given_up(
            RunKey(variant_id, self._components.proxy, 0, 0)
        )

    def next_number(self) -> int:
        """A number for a proposal that is not made in this lane."""
        with self._shared.changed:
            number, self._next_number = self._next_number, self._next_number + 1
        return number

    def welcome(self, proposal: Proposal, first: bool = True) -> None:
        """Take in a committed proposal from outside; `first`: its child is measured before all that wait."""
        with self._shared.changed:
            if proposal.outcome is Outcome.VARIANT and proposal.variant is not None:
                self._components.budget.add_variant()
                self._add_child(proposal, proposal.variant.id)
                if first:
                    self.ready.put_first(proposal.variant.id)
            else:
                self._settled[proposal.number] = 0
            self._shared.changed.notify_all()

    def shut_down(self, wait: bool) -> None:
        """End the threads; proposals not begun are dropped."""
        self._threads.shutdown(wait=wait, cancel_futures=True)

    def _halt(self, as_of: int | None = None) -> bool:
        """Close when a rule of the campaign ends the search; what ended it is a row."""
        rules = self._components.stop
        if rules is None or self.closed:
            return False
        seconds = self._components.budget.spent().seconds
        recorder = self._shared.recorder
        if gain := rules.note_gain(seconds):
            recorder.submit(lambda store: store.set_setting(GAIN, gain))
        timed = not self._settings.exact
        now, ran = (time.time(), seconds) if timed else (None, None)
        halt = rules.next(now, ran, as_of)
        if halt is not None:
            recorder.submit(
                lambda store: store.add_decision(halt.kind, halt.variant_id, halt.detail)
            )
        if rules.halted is not None:
            self.close(reason_of(rules.halted))
        return bool(self.closed)

    def _close_when_spent(self) -> None:
        if not self._settings.exact and self._halt():
            return
        spent = self._components.budget.exhausted(in_the_making=len(self._making))
        if spent:
            self.close(f"budget spent, {spent}")
        elif self._fruitless >= FAILURES_IN_A_ROW and not self._making:
            why = f"; the last: {self._why_none}" if self._why_none else ""
            self.close(f"{self._fruitless} proposals in a row gave no new child{why}")

    def _wanted(self) -> Wanted:
        """What the next proposal may be, with what is in flight and who can work now."""
        proposer = self._components.proposer
        if self._fruitless + len(self._making) >= FAILURES_IN_A_ROW:
            return Wanted.NOTHING
        if time.monotonic() < self._not_before:
            return Wanted.NOTHING
        if self._settings.exact:
            return Wanted.NOTHING if self._making or proposer.is_unavailable() else Wanted.ANY
        awaited = proposer.answers_awaited()
        wanted = ProposalFlow(
            slots=self._components.slots.size,
            queue=self._settings.queue,
            ready=len(self.ready),
            computing=max(len(self._making) - len(awaited), 0),
            answers_awaited=awaited,
            answer_seconds=self._answer_seconds.values,
            computing_seconds=self._computing_seconds.mean or 0.0,
            evaluation_seconds=self.evaluation_seconds.mean,
            is_scored=self._is_seed_scored(),
        ).wanted()
        if wanted is not Wanted.NOTHING and proposer.is_unavailable(may_ask=wanted is Wanted.ANY):
            return Wanted.NOTHING
        return wanted

    def _is_seed_scored(self) -> bool:
        """Whether there is a parent with a score, which models are to improve."""
        history = self._components.history
        rows = history.rows(self._components.proxy, variant_id=history.seed_id)
        return any(row.measurement.status is Status.OK for row in rows)

    def _visible_to(self, number: int) -> int | None:
        """Exact campaigns: the last measurement proposal `number` may see; None while that is not known."""
        if not self._components.scheduler.is_calibrated():
            return None
        rows = self._components.history.rows(self._components.proxy, purposes={Purpose.CALIBRATE})
        seen = max(row.id for row in rows)
        for earlier in range(2, number - self._settings.queue):  # 1 is the seed
            if earlier not in self._settled:
                return None
            seen = max(seen, self._settled[earlier])
        return seen

    def _propose(self, number: int, as_of: int | None, may_ask: bool) -> None:
        started = time.monotonic()
        try:
            proposal = self._components.proposer.propose(number, as_of, may_ask)
        except Exception as error:  # noqa: BLE001 - border of the lane: a faulty operator is a failed proposal
            self._shared.say("error", f"proposal {number} broke: {traceback.format_exc(limit=-3)}")
            reason = f"{type(error).__name__}: {error}"[:400]
            proposal = Proposal(number, "unknown", (), Outcome.FAILED, reason)
        proposal = self._shared.recorder.write(lambda store: self.commit(store, proposal))
        with self._shared.changed:
            asked = proposal.author != OURSELVES
            seconds = self._answer_seconds if asked else self._computing_seconds
            # without the wait for its turn: more threads would not shorten that
            seconds.add(proposal.cost.seconds or time.monotonic() - started)
            del self._making[number]
            self._take_in(proposal)
            self._shared.changed.notify_all()

    def commit(self, store: Store, proposal: Proposal) -> Proposal:
        """Record a proposal; in the record lane, so that two equal children cannot both be new."""
        variant = proposal.variant
        if proposal.outcome is Outcome.VARIANT and variant is not None:
            known = repeated(store, variant)
            if known == variant.id or (known and proposal.operator != REPLICATE):
                proposal = replace(
                    proposal, outcome=Outcome.DUPLICATE, reason=f"repeats {known[:8]}", variant=None
                )
        store.add_proposal(proposal)
        return proposal

    def _take_in(self, proposal: Proposal) -> None:
        if proposal.outcome is Outcome.VARIANT and proposal.variant is not None:
            self._add_child(proposal, proposal.variant.id)
            return
        self._fruitless += not proposal.resting  # a model or an agent that rests closes no search
        self._why_none = one_line(proposal.reason, MAX_WHY)
        if proposal.outcome is Outcome.FAILED:
            wait = min(FIRST_WAIT_SECONDS * 2 ** min(self._fruitless, 12), MAX_WAIT_SECONDS)
            self._not_before = time.monotonic() + wait
        self._settled[proposal.number] = 0
        self._components.budget.return_variant()
        outcome = f"{proposal.operator} gave no child ({proposal.outcome}): {proposal.reason}"
        self._shared.say("proposal", outcome)

    def _add_child(self, proposal: Proposal, child: str) -> None:
        self._fruitless = 0
        made = proposal
        self._components.lineage.add(child, made.parents, made.operator, made.island, made.seen)
        self._number_of[child] = proposal.number
        self.ready.add([child])
