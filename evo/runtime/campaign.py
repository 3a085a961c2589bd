"""One campaign: the proposal lane, the evaluation lane and the record lane, to a budget.

The parts are handed in, so that tests use fakes. The store is the only truth: a campaign that was killed
at any moment goes on from its rows.
"""

from __future__ import annotations

import time

from evo.runtime.components import Components, Ending, LoopSettings, Shared, Stop
from evo.runtime.decisions import decision_in, describe, is_about_a_child
from evo.runtime.evaluation_lane import EvaluationLane
from evo.runtime.proposal_lane import ProposalLane
from evo.runtime.requests import Answer, Requests, saying
from population.ladder import UNVETOED, VETOED
from population.store import Store
from population.types import CampaignState, Decision, RequestRow, phase_of

POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0


class Campaign:
    """Runs the lanes until the budget is spent and everything is measured, or someone stops it."""

    def __init__(self, components: Components, settings: LoopSettings) -> None:
        if settings.exact and components.slots.size != 1:
            raise ValueError("an exact campaign runs on one slot")
        self.components = components
        self.shared = Shared(components.recorder, components.board)
        self._proposals = ProposalLane(components, settings, self.shared)
        self._evaluations = EvaluationLane(components, settings, self.shared, self._proposals)
        decide = self._asked_to_decide
        answers = {
            "stop": self._asked_to_stop,
            **dict.fromkeys(("approve", "veto", "unveto"), decide),
        }
        self._requests = Requests(components, self.shared, self._proposals, answers)

    def stop(self, now: bool = False) -> None:
        """End cleanly (runs under way finish); asked twice or with `now`, at once. Safe in a signal handler."""
        self.shared.stop = Stop.NOW if now or self.shared.stop is not Stop.NO else Stop.CLEANLY
        self.components.stopping.set()
        if self.shared.stop is Stop.NOW:
            self.shared.recorder.give_up()

    def run(self) -> Ending:
        """Run to the end; why it ended."""
        self.shared.recorder.start()
        try:
            with self.components.open_store() as store:
                self._proposals.take_up(store)
                self._evaluations.take_up(store)
            self._answer_requests(before_start=True)
            self._evaluations.start()
            self._coordinate()
            ending = self._ending()
            self.shared.say("failure" if self.shared.failure else "end", ending.reason)
            return ending
        except Exception as error:
            self.components.board.tell("failure", f"{type(error).__name__}: {error}")
            raise
        finally:
            now = self.shared.stop is Stop.NOW
            self._proposals.shut_down(wait=not now)
            for close in self.components.closing:
                close()
            self.shared.recorder.close(give_up=now)
            self.components.board.set_phase("ended")

    def _coordinate(self) -> None:
        next_poll, next_look = 0.0, 0.0
        while self._evaluations.working:
            with self.shared.changed:
                self._proposals.top_up()
                self.shared.changed.notify_all()
                self._name_phase()
                self.shared.changed.wait(POLL_SECONDS)
            if self.components.live is not None:
                self.components.live()
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + POLL_SECONDS
                self._answer_requests()
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + LOOK_SECONDS
                self._look_around()

    def _look_around(self) -> None:
        """Say what is new; stop cleanly for the first reason that a guard gives."""
        for notice in self.components.notices:
            if said := notice():
                self.shared.say("remark", said)
        found = (guard() for guard in self.components.guards)
        reason = next((one for one in found if one), "")
        if reason and self.shared.stop is Stop.NO:
            self.shared.reason = reason
            self.stop()

    def _answer_requests(self, before_start: bool = False) -> None:
        """Do what was asked; a stop that was meant for an earlier process is not meant for this one."""
        self._requests.answer(leave_out={"stop"} if before_start else ())

    def _asked_to_stop(self, asked: RequestRow) -> Answer:
        self.stop(now=bool((asked.detail or {}).get("now")))
        return saying(f"{asked.author} asked to stop")

    def _asked_to_decide(self, asked: RequestRow) -> Answer:
        """What a person says of a variant is a decision in the transaction that takes it."""
        said = decision_in(asked)
        if said is None:
            raise ValueError("it names no variant")

        def write(store: Store) -> None:
            if is_about_a_child(store, said.variant_id):
                store.add_decision(said.kind, said.variant_id, said.detail)

        return Answer(write, lambda written: self._apply(said))

    def _apply(self, said: Decision) -> str:
        """What a person said of a variant counts from now on; it in words, "" where it changes nothing."""
        graduation = self.components.scheduler.graduation
        with self.shared.changed:
            if not graduation.apply(said):
                return ""
            if said.kind in (VETOED, UNVETOED):
                self._proposals.apply_veto(said.variant_id, said.kind == VETOED)
                self._evaluations.veto(graduation.ladder.vetoed)
            self.shared.changed.notify_all()
        return "; ".join(describe([said]))

    def _name_phase(self) -> None:
        phase = phase_of(self._evaluations.purposes()) or "between runs"
        self.components.board.set_phase("stopping" if self.shared.stop is not Stop.NO else phase)

    def _ending(self) -> Ending:
        if self.shared.failure:
            state = CampaignState.FAILED
            return Ending(state, f"{state}: {self.shared.failure}")
        if self.shared.stop is not Stop.NO:
            why = f": {self.shared.reason}" if self.shared.reason else ""
            state = CampaignState.STOPPED
            return Ending(state, f"{state}{why}; `evo resume` goes on from here")
        waiting = self.components.scheduler.graduation.waiting()
        if waiting:
            ids = ", ".join(dict.fromkeys(one.variant_id[:8] for one in waiting))
            state = CampaignState.WAITING
            return Ending(state, f"{state} of {ids}: `evo approve` shows why")
        said = self._proposals.closed or "everything asked for is measured"
        if self._proposals.seed_failed:
            state = CampaignState.FAILED
            return Ending(state, f"{state}: {said}")
        return Ending(CampaignState.COMPLETE, said, self._halt())

    def _halt(self) -> Decision | None:
        return None if self.components.stop is None else self.components.stop.halted
