"""What the free slots do next: one ordered tuple of duties, which is the policy.

A duty looks at what is recorded, decided and under way, and answers with a step (runs to start, or decisions
to record), with WAIT (nothing, before something under way is recorded), or with None (the next duty's turn).
Nothing here waits, writes, or reads a clock: threads, the tournament and simulations drive it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from evo.search.certification import FINAL, Certification
from evo.search.final_selection import FinalRace
from evo.search.islands import Sceptic, in_turn, migrations, restart, runs_by_island
from evo.search.ladder import Graduation
from population.islands import Island, IslandRole, Islands
from population.run_history import RunHistory
from population.types import (
    CHECKS,
    RACING,
    SEARCHED,
    SEARCHING,
    Clock,
    Decision,
    Purpose,
    Rung,
    RunKey,
    RunRequest,
)

MAX_BLOCKS = 6  # that a member of the front is measured on again
MAX_LEADERS = 6  # in the race once the search is over
REFERENCE_EVERY = 20  # runs of the search between two runs of the seed as a reference
FIRST_REFERENCE = 1000  # repeats of block 0 from here on are references
SEED_SHARE = 0.25  # of the runs that a budget of seconds holds: more may not go to the seed before the search
MIN_SEED_RUNS = 2  # the seed on two blocks: without them nothing is known of the noise


class PolicySettings(BaseModel):
    """Shares of the evaluation slots."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed_blocks: int = Field(default=4, ge=1, description="blocks the seed is measured on first")
    seed_repeats: int = Field(
        default=2,
        ge=0,
        description="further runs of it on block 0; in all at most a quarter of `budget.seconds`, but two",
    )
    remeasure_share: float = Field(default=0.2, ge=0, lt=1, description="of the search's runs")
    race_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="of the search's runs, held back for the leaders' race; 0: no race",
    )
    final_blocks: int = Field(
        default=3, ge=0, description="fresh blocks for leader and seed at the end"
    )


@dataclass(frozen=True, slots=True)
class SearchState:
    """What the rows do not tell: runs under way, children that wait, and whether more will come.

    `allows` may refuse runs that the driver of the search cannot pay for.
    """

    under_way: Mapping[RunKey, RunRequest] = field(default_factory=dict)
    ready: Sequence[str] = ()  # children to screen, the first one next
    search_is_over: bool = False  # no child is left to screen, and none will come
    allows: Callable[[RunRequest], bool] = lambda request: True

    def is_running(self, purposes: Collection[Purpose]) -> bool:
        """Whether a run for one of these purposes is under way."""
        return any(request.purpose in purposes for request in self.under_way.values())


@dataclass(frozen=True, slots=True)
class Step:
    """Runs to start now (a pair goes to one slot, in this order), and what was decided on the way."""

    runs: tuple[RunRequest, ...] = ()
    decisions: tuple[Decision, ...] = ()


WAIT = Step()  # nothing to start before something under way is recorded

Repeats = Callable[[], Sequence[str] | None]
Duty = Callable[["Scheduler", SearchState], Step | None]


class Scheduler:
    """The duties of a free slot, the proxy rung's and, once the search is over, those up the ladder.

    Its state is what it decided and the history's rows: `decided` and the history of an earlier process
    make it go on from there. `calibrations`, a slot's share each, stand in the place of the settings' own, of
    which only the first `seed_runs` are made. `exact`: one run at a time, so that timing decides nothing;
    `search`, `finish`: whether there is a search, and whether final comparison and ladder follow it.
    `repeats`: who is better run again than anything new, the best first; None: it cannot say, and a fixed share
    is repeated. `islands`: the populations where there are several; `repeats` is asked by the name of each.
    """

    def __init__(
        self,
        settings: PolicySettings,
        history: RunHistory,
        rung: str,
        certification: Certification,
        graduation: Graduation,
        *,
        calibrations: Sequence[Sequence[RunRequest]] | None = None,
        decided: Sequence[Decision] = (),
        seed_runs: int | None = None,
        exact: bool = False,
        search: bool = True,
        finish: bool = True,
        repeats: Repeats | Mapping[str, Repeats] | None = None,
        islands: Islands | None = None,
    ) -> None:
        self._settings, self._history, self._rung = settings, history, rung
        self.certification, self.graduation = certification, graduation
        self.leaders = FinalRace(MAX_LEADERS, settings.race_share, history, rung, decided)
        self._final = next((one for one in reversed(decided) if one.kind == FINAL), None)
        own = [[one] for one in self._default_calibrations()[:seed_runs]]
        self._calibrations = tuple(own if calibrations is None else calibrations)
        self._exact, self._search, self._finish = exact, search, finish
        self._repeats = repeats if isinstance(repeats, Mapping) else {}
        if callable(repeats):
            self._repeats = {"": repeats}
        self.islands = islands
        self._sceptic: Sceptic | None = None
        if islands is not None:
            if islands.sceptics:
                self._sceptic = Sceptic(islands, history, islands.lineage, rung)
            for one in decided:
                self._take_on_islands(one)

    # -- the way through the duties ------------------------------------------------------------------------

    def next(self, state: SearchState) -> Step:
        """What to start now, after what is due to be decided; record its decisions before its runs.

        No runs: there is nothing to do before something is recorded, or nothing at all.
        """
        decided: list[Decision] = []
        while True:
            step = self._first_step(state)
            for decision in step.decisions:
                self.take(decision)
            decided += step.decisions
            if step.runs or not step.decisions:
                return Step(step.runs, tuple(decided))

    def tell(self, request: RunRequest) -> tuple[Decision, ...]:
        """What the run of this request, recorded just now, decides at once."""
        ended = self.certification.settle(idle=False) if request.purpose is Purpose.RACE else None
        if ended is None:
            return ()
        self.take(ended)
        return (ended,)

    def take(self, decision: Decision) -> None:
        """A decision counts from now on; one of an earlier process or of a person, too."""
        if decision.kind == FINAL:
            self._final = decision
        self.leaders.take(decision)
        self.certification.take(decision)
        self.graduation.take(decision)
        self._take_on_islands(decision)

    def _take_on_islands(self, decision: Decision) -> None:
        if self.islands is not None:
            self.islands.take(decision)
        if self._sceptic is not None:
            self._sceptic.take(decision)

    def is_calibrated(self) -> bool:
        """Whether every calibration run is recorded or given up."""
        return all(
            self._history.is_settled(request.key)
            for together in self._calibrations
            for request in together
        )

    def is_taken(self, state: SearchState, key: RunKey) -> bool:
        """Whether this run is under way, recorded or given up."""
        return key in state.under_way or self._history.is_settled(key)

    def _first_step(self, state: SearchState) -> Step:
        for duty in DUTIES:
            step = duty(self, state)
            if step is WAIT and state.search_is_over and self._finish:
                return self.run_ahead(state) or WAIT
            if step is not None:
                return step
        return WAIT

    def _start(self, state: SearchState, requests: Iterable[RunRequest]) -> Step | None:
        """The first of these requests that is still to be run."""
        for request in requests:
            if not self.is_taken(state, request.key) and state.allows(request):
                return Step((request,))
        return None

    def _start_pair(self, state: SearchState, pair: Sequence[RunRequest]) -> Step | None:
        """What is missing of a pair, for one slot."""
        return Step(tuple(pair)) if pair and all(map(state.allows, pair)) else None

    def _taken(self, state: SearchState) -> Callable[[RunKey], bool]:
        return lambda key: self.is_taken(state, key)

    # -- the duties ----------------------------------------------------------------------------------------

    def calibrate(self, state: SearchState) -> Step | None:
        """The seed on its first blocks, so that everything after has something to stand on.

        No more of them once it failed and has no score: what fails on one block fails on the next.
        """
        for together in self._calibrations:
            missing = [one for one in together if not self.is_taken(state, one.key)]
            if missing and all(map(state.allows, missing)):
                return None if self._history.seed_failed(self._rung) else Step(tuple(missing))
        return None

    def await_next_child(self, state: SearchState) -> Step | None:
        """An exact campaign decides only once the next child is known and nothing else runs."""
        if not self._exact or state.search_is_over:
            return None
        return WAIT if state.is_running(SEARCHING) or not state.ready else None

    def refer(self, state: SearchState) -> Step | None:
        """The seed on block 0 once more, whenever enough runs were made since the last time."""
        if state.search_is_over:
            return None
        due = self._searched() // REFERENCE_EVERY
        repeats = range(FIRST_REFERENCE, FIRST_REFERENCE + due)
        return self._start(
            state,
            [
                RunRequest(self._history.seed_id, self._rung, 0, repeat, Purpose.REFERENCE)
                for repeat in repeats[-1:]
            ],
        )

    def await_search(self, state: SearchState) -> Step | None:
        """What follows the search rests on all its rows; nothing follows where that was not asked for."""
        if not state.search_is_over:
            return None
        return WAIT if state.is_running(SEARCHING - RACING) or not self._finish else None

    def publish_champion(self, state: SearchState) -> Step | None:
        """Pairs after a certification, on the blocks behind its own: what decided was lucky."""
        if not state.search_is_over and state.is_running(RACING):
            return None  # one pair at a time: children go on
        step = self._start_pair(state, self.certification.next_post(self._taken(state)))
        if step is None and state.search_is_over and state.is_running({Purpose.POST}):
            return WAIT
        return step

    def race_leaders(self, state: SearchState) -> Step | None:
        """The leaders on new blocks, the worse half leaving round after round.

        A challenge that the search left is ended first.
        """
        if not state.search_is_over or self.certification.race is not None:
            return None
        screens = self._history.rows(self._rung, purposes={Purpose.SCREEN})
        if screens and (begun := self.leaders.begin(self._searched(), screens[-1].id)):
            return Step(decisions=(begun,))
        request = self.leaders.next_request(self._taken(state))
        return self._start(state, [request]) if request is not None else None

    def certify(self, state: SearchState) -> Step | None:
        """The next pair of the challenge under way, or of one that begins now."""
        certification, over = self.certification, state.search_is_over
        racing = state.is_running({Purpose.RACE})
        if not over and state.is_running(RACING):
            return None  # one pair at a time: children go on
        if over and racing and certification.race is None:
            return WAIT  # the leaders still run: who challenges is not known yet
        at_end = over and self._search
        if begun := certification.begin(at_end, self.leaders.winner() if at_end else None):
            return Step(decisions=(begun,))
        if not self._is_dropped() and (
            step := self._start_pair(state, certification.next_pair(self._taken(state)))
        ):
            return step
        if racing:
            return WAIT
        ended = certification.settle(idle=True)
        return Step(decisions=(ended,)) if ended is not None else None

    def check_claims(self, state: SearchState) -> Step | None:
        """The next pair of the claim that a sceptic tests, as long as it is within its share of the runs."""
        sceptic, islands = self._sceptic, self.islands
        if sceptic is None or islands is None or state.search_is_over:
            return None
        if state.is_running(CHECKS):
            return None  # one pair at a time: children go on
        pair = sceptic.next_pair(self._taken(state))
        if ended := sceptic.settle(idle=not pair):
            return Step(decisions=(ended,))
        used = runs_by_island(islands, self._rung, state.under_way.values())
        spent = sum(used[one.name] for one in islands.sceptics)
        if spent + 2 > islands.sceptics_share * (self._searched() + 2):
            return None
        if begun := sceptic.begin():
            return Step(decisions=(begun,))
        return self._start_pair(state, pair)

    def migrate(self, state: SearchState) -> Step | None:
        """The proven go round the islands, and an island that finds nothing any more begins again."""
        if self.islands is None or state.search_is_over:
            return None
        moved = migrations(self.islands, self._rung, self._searched(), self.certification.proven)
        again = restart(self.islands, self._rung)
        decided = moved if again is None else (*moved, again)
        return Step(decisions=decided) if decided else None

    def remeasure(self, state: SearchState) -> Step | None:
        """Who is better run again than a new child, by what is believed of both.

        Where nothing says so: a front member thin in blocks, while re-measuring is behind its share.
        """
        if state.search_is_over:
            return None
        steps = (
            self._remeasure_in(state, name, history) for name, history in self._populations(state)
        )
        return next((step for step in steps if step is not None), None)

    def _remeasure_in(self, state: SearchState, name: str, history: RunHistory) -> Step | None:
        """What is to be run again in one population."""
        chosen = self._repeats[name]() if name in self._repeats else None
        if chosen is not None:
            able = (one for one in chosen if not self._history.is_vetoed(one))
            return self._start(state, [self._next_block(one) for one in able])
        island = None if self.islands is None else name
        screens = self._history.count(self._rung, Purpose.SCREEN, island)
        remeasures = self._history.count(self._rung, Purpose.REMEASURE, island)
        if remeasures + 1 > self._settings.remeasure_share * (screens + remeasures + 1):
            return None
        thin = []  # ties go to the better score
        for place, variant_id in enumerate(history.front(self._rung)):
            blocks = len(self._history.blocks(variant_id, self._rung))
            if blocks < MAX_BLOCKS:
                thin.append((blocks, place, self._next_block(variant_id)))
        return self._start(
            state, [request for *_, request in sorted(thin, key=lambda one: one[:2])]
        )

    def _next_block(self, variant_id: str) -> RunRequest:
        """The first block that a variant has no row on."""
        blocks = set(self._history.blocks(variant_id, self._rung))
        block = next(b for b in range(len(blocks) + 1) if b not in blocks)
        return RunRequest(variant_id, self._rung, block, 0, Purpose.REMEASURE)

    def screen(self, state: SearchState) -> Step | None:
        """A new child on block 0, the one that waited longest: the last duty of a search.

        Of several islands first one of that which is furthest behind its share of the runs.
        """
        if state.search_is_over:
            return None
        ready = state.ready
        if self.islands is not None:
            turns = {one.name: at for at, one in enumerate(self._in_turn(state))}
            ready = sorted(ready, key=lambda one: turns.get(self._island_of(one), -1))
        requests = [RunRequest(one, self._rung, 0, 0, Purpose.SCREEN) for one in ready]
        return self._start(state, requests) or WAIT

    def compare_final(self, state: SearchState) -> Step | None:
        """Champion (or leader) and seed side by side, in turn A B B A, on blocks that chose nobody."""
        if begun := self._begin_final():
            return Step(decisions=(begun,))
        if self._final is None:
            return None
        requests, seed_id, subject = [], self._history.seed_id, self._final.variant_id
        for place in range(self._settings.final_blocks):
            pair = (seed_id, subject) if place % 2 == 0 else (subject, seed_id)
            block = self._final.detail["first_block"] + place
            requests += [RunRequest(one, self._rung, block, 0, Purpose.FINAL) for one in pair]
        waits = WAIT if state.is_running({Purpose.FINAL}) else None
        return self._start(state, requests) or waits

    def climb_ladder(self, state: SearchState) -> Step | None:
        """The picks and the seed at the next rungs, after what is due to be decided there."""
        if decisions := self.graduation.decide():
            return Step(decisions=tuple(decisions))
        request = self.graduation.next_request(self._taken(state))
        return self._start(state, [request]) if request is not None else None

    def run_ahead(self, state: SearchState) -> Step | None:
        """What the ladder needs anyway, for slots that are free while it is not known who goes up."""
        request = self.graduation.ahead(self._taken(state))
        return self._start(state, [request]) if request is not None else None

    # -- what the duties know ------------------------------------------------------------------------------

    def _default_calibrations(self) -> list[RunRequest]:
        """The seed once on each of its blocks, then again on the first: noise across and within."""
        keys = [(block, 0) for block in range(self._settings.seed_blocks)]
        keys += [(0, 1 + again) for again in range(self._settings.seed_repeats)]
        seed_id = self._history.seed_id
        return [RunRequest(seed_id, self._rung, *key, Purpose.CALIBRATE) for key in keys]

    def _searched(self) -> int:
        return sum(self._history.count(self._rung, one) for one in SEARCHED)

    def _populations(self, state: SearchState) -> Iterable[tuple[str, RunHistory]]:
        """Each population that breeds, by name, with what is known as it counts there."""
        if self.islands is None:
            return [("", self._history)]
        found = [one for one in self._in_turn(state) if one.role is IslandRole.EXPLORER]
        return [(one.name, one.history) for one in found]

    def _in_turn(self, state: SearchState) -> list[Island]:
        """The islands, the one first that is furthest behind its share of the search's runs."""
        assert self.islands is not None
        used = runs_by_island(self.islands, self._rung, state.under_way.values())
        return in_turn(self.islands.all, used)

    def _island_of(self, variant_id: str) -> str:
        return self.islands.of(variant_id) if self.islands is not None else ""

    def _is_dropped(self) -> bool:
        """Whether the challenger was vetoed meanwhile."""
        race = self.certification.race
        return race is not None and self._history.is_vetoed(race.challenger)

    def _begin_final(self) -> Decision | None:
        """Whom the final comparison is about: the champion, else the leader.

        A search that went on since the last one asks for another.
        """
        history, seed_id = self._history, self._history.seed_id
        if not self._settings.final_blocks or not self._final_is_outdated():
            return None
        proven = [one for one in self.certification.certified if not history.is_vetoed(one)]
        leader = next((one for one in history.front(self._rung) if one != seed_id), None)
        subject = proven[-1] if proven else self.leaders.winner() or leader
        if subject is None:
            return None
        first = history.first_fresh_block(self._rung, (subject, seed_id))
        return Decision(FINAL, subject, {"first_block": first, "seen": self._history.last_id()})

    def _final_is_outdated(self) -> bool:
        if self._final is None:
            return True
        screens = self._history.rows(self._rung, purposes={Purpose.SCREEN})
        return bool(screens) and screens[-1].id > self._final.detail["seen"]


DUTIES: tuple[Duty, ...] = (  # the order is the policy
    Scheduler.calibrate,
    Scheduler.await_next_child,
    Scheduler.refer,
    Scheduler.await_search,
    Scheduler.publish_champion,
    Scheduler.race_leaders,
    Scheduler.certify,
    Scheduler.check_claims,
    Scheduler.migrate,
    Scheduler.remeasure,
    Scheduler.screen,
    Scheduler.compare_final,
    Scheduler.climb_ladder,
)


def seed_runs(
    settings: PolicySettings, seconds: float | None, slots: int, run_seconds: float
) -> int:
    """How many runs measure the seed before the search: what the settings want and the seconds can bear.

    `seconds`: the campaign's budget, None for no limit; `run_seconds`: of one run, 0 where it is not known.
    """
    wanted = settings.seed_blocks + settings.seed_repeats
    if seconds is None or not run_seconds:
        return wanted
    able = int(SEED_SHARE * seconds * slots / run_seconds)
    return min(wanted, max(able, MIN_SEED_RUNS))


def run_seconds(rung: Rung) -> float:
    """What a run takes from start to the end of its training; 0 where the clock counts tokens."""
    return 0.0 if rung.clock is Clock.TOKENS else rung.startup_seconds + rung.budget
