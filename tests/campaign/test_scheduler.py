"""What free slots do next, as a table of states: no thread, no store, no clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest

from evo.search import scheduler
from evo.search.certification import (
    BEGUN,
    ENDED,
    FINAL,
    LEADERS,
    Certification,
    CertificationSettings,
)
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings, Promotion
from evo.search.scheduler import DUTIES, PolicySettings, Scheduler, SearchState
from evo.search.synchronous import SynchronousSearch
from population.archive import VAL_BPB
from population.ladder import CHOSEN
from population.lineage import Lineage
from population.run_history import MAX_ATTEMPTS, RunHistory
from population.types import (
    Decision,
    Measurement,
    MeasurementRow,
    Parent,
    Phase,
    Purpose,
    RunRequest,
    Status,
    phase_of,
)

POLICY = PolicySettings(
    seed_blocks=2,
    seed_repeats=1,
    remeasure_share=0.3,
    race_share=0.3,
    final_blocks=2,
)
GRADUATION = GraduationSettings(promotion=Promotion.AUTO, graduates=1, controls=0, blocks=1)
RUNGS = ("proxy", "target")


class World:
    """A scheduler, its history, and scores by a rule; drives itself one run at a time."""

    def __init__(self, gains: dict[str, float] | None = None, **settings: object) -> None:
        self.gains = {"seed": 0.0} | (gains or {})
        self.history = RunHistory([VAL_BPB], "seed")
        self.lineage = Lineage()
        self.lineage.add("seed", ())
        self.ready: list[str] = []
        self.over = False
        self.status: Callable[[RunRequest], Status] = lambda request: Status.OK
        self.ran: list[RunRequest] = []
        self.decided: list[Decision] = []
        self.settings = settings
        self.scheduler = self.restart()

    def restart(self) -> Scheduler:
        """As another process would go on: from the decisions and the rows alone."""
        policy = self.settings.get("policy", POLICY)
        certification = self.settings.get("certification", CertificationSettings(attempts=0))
        rest = {
            key: self.settings[key]
            for key in ("exact", "finish", "repeats")
            if key in self.settings
        }
        graduation = Graduation(GRADUATION, self.history, self.lineage, RUNGS)
        decided = tuple(self.decided)
        for one in decided:
            graduation.take(one)
        self.scheduler = Scheduler(
            policy,
            self.history,
            "proxy",
            Certification(certification, self.history, "proxy", decided),
            graduation,
            decided=decided,
            **rest,
        )
        return self.scheduler

    def child(self, name: str) -> None:
        self.lineage.add(name, (Parent("seed", "parent"),))
        self.ready.append(name)

    def state(self, under_way: Sequence[RunRequest] = ()) -> SearchState:
        return SearchState({one.key: one for one in under_way}, tuple(self.ready), self.over)

    def next(self, under_way: Sequence[RunRequest] = ()) -> tuple[RunRequest, ...]:
        step = self.scheduler.next(self.state(under_way))
        self.decided += step.decisions
        return step.runs

    def add_row(self, request: RunRequest) -> None:
        score = (
            2.0 - self.gains[request.variant_id] + 0.01 * ((2 * request.block + request.repeat) % 3)
        )
        status = self.status(request)
        metrics = {"val_bpb": score, "parameters": 100.0} if status is Status.OK else {}
        self.ran.append(request)
        self.history.add(
            MeasurementRow(len(self.ran), Measurement(request, status, metrics=metrics))
        )

    def record(self, request: RunRequest) -> None:
        self.add_row(request)
        if request.variant_id in self.ready and request.purpose is Purpose.SCREEN:
            self.ready.remove(request.variant_id)
        self.decided += self.scheduler.tell(request)

    def drive(self, most: int = 500) -> list[RunRequest]:
        """Run until nothing is left; what was run, in order."""
        before = len(self.ran)
        for _ in range(most):
            runs = self.next()
            if not runs:
                break
            for request in runs:
                self.record(request)
        return self.ran[before:]


def purposes(requests: Sequence[RunRequest]) -> list[Purpose]:
    return [one.purpose for one in requests]


def test_the_seed_comes_first_on_new_blocks_then_again_on_the_first_one() -> None:
    world = World()
    world.child("a")
    made = []
    while (request := world.next()[0]).purpose is Purpose.CALIBRATE:
        assert not world.scheduler.is_calibrated()
        made.append((request.variant_id, request.block, request.repeat))
        world.record(request)
    assert made == [("seed", 0, 0), ("seed", 1, 0), ("seed", 0, 1)]
    assert world.scheduler.is_calibrated()
    assert (request.variant_id, request.purpose) == ("a", Purpose.SCREEN)


def test_a_slot_that_is_free_while_the_seed_runs_gets_the_next_calibration_and_then_a_child() -> (
    None
):
    world = World()
    world.child("a")
    under_way: list[RunRequest] = []
    for expected in ("seed", "seed", "seed", "a"):
        (request,) = world.next(under_way)
        assert request.variant_id == expected
        under_way.append(request)
    assert world.next(under_way) == ()


def test_a_child_under_way_is_not_started_twice_and_a_lost_one_is_given_up_in_the_end() -> None:
    world = World()
    world.drive()
    world.child("a")
    (request,) = world.next()
    assert world.next([request]) == ()
    world.status = lambda request: Status.LOST
    for _ in range(MAX_ATTEMPTS):
        (again,) = world.next()
        assert again == request
        world.history.add(MeasurementRow(0, Measurement(again, Status.LOST)))
    assert world.next() == ()


def test_the_seed_is_referred_to_once_every_so_many_runs_of_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "REFERENCE_EVERY", 4)
    world = World({f"c{k}": -0.5 for k in range(12)})
    for k in range(12):
        world.child(f"c{k}")
    ran = world.drive()
    searched = [one for one in ran if one.purpose in (Purpose.SCREEN, Purpose.REMEASURE)]
    references = [one for one in ran if one.purpose is Purpose.REFERENCE]
    assert len(references) == len(searched) // 4
    assert len({one.repeat for one in references}) == len(references)


def test_re_measuring_takes_its_share_and_goes_to_the_front_member_with_the_fewest_blocks() -> None:
    world = World({f"c{k}": 0.1 * k for k in range(8)})
    for k in range(8):
        world.child(f"c{k}")
    ran = world.drive()
    many = purposes(ran).count(Purpose.REMEASURE)
    assert 0 < many <= 0.3 * (many + 8)
    for place, request in enumerate(ran):
        if request.purpose is Purpose.REMEASURE:
            earlier = {one.block for one in ran[:place] if one.variant_id == request.variant_id}
            assert request.block == len(earlier)  # the next block of its own


def test_after_the_search_come_leaders_then_the_final_comparison_then_the_ladder() -> None:
    gains = {f"c{k}": 0.05 * k for k in range(8)}
    world = World(gains)
    for name in gains:
        world.child(name)
    world.drive()
    world.over = True
    ran = purposes(world.drive())
    assert [one.kind for one in world.decided] == [LEADERS, FINAL, CHOSEN]
    order = [Purpose.RACE, Purpose.FINAL, Purpose.GRADUATE]
    assert [one for place, one in enumerate(ran) if one not in ran[:place]] == order
    assert sorted(ran, key=order.index) == ran
    assert world.next() == ()


def test_what_follows_the_search_waits_for_its_last_runs_and_free_slots_run_ahead() -> None:
    world = World({"a": 0.3, "b": 0.2})
    world.child("a")
    world.drive()
    world.child("b")
    (last,) = world.next()
    world.over = True
    ahead = world.next([last])
    assert [(one.variant_id, one.purpose) for one in ahead] == [("seed", Purpose.GRADUATE)]
    assert not world.decided


def test_nothing_follows_the_search_where_nothing_was_asked_to() -> None:
    world = World({"a": 0.3}, finish=False)
    world.child("a")
    world.drive()
    world.over = True
    assert world.next() == ()
    assert not world.decided


def test_an_exact_campaign_decides_only_once_a_child_waits_and_nothing_runs() -> None:
    world = World({"a": 0.3, "b": 0.1}, exact=True)
    world.drive()
    assert world.next() == ()
    world.child("a")
    (request,) = world.next()
    world.child("b")
    assert world.next([request]) == ()


def test_a_challenge_runs_in_pairs_alternately_and_its_verdict_is_a_decision() -> None:
    certification = CertificationSettings(attempts=1, most_pairs=6)
    world = World({"a": 0.5}, certification=certification)
    world.child("a")
    world.drive()
    world.over = True
    begun = len(world.ran)
    pair = world.next()
    assert {one.variant_id for one in pair} == {"a", "seed"}
    assert len({one.block for one in pair}) == 1
    for request in pair:
        world.record(request)
    following = world.next()
    assert [one.variant_id for one in following] == [one.variant_id for one in pair][::-1]
    for request in following:
        world.record(request)
    world.drive()
    kinds = [one.kind for one in world.decided]
    assert kinds[:2] == [BEGUN, ENDED]
    assert world.decided[1].detail["verdict"] == "certified"
    races = [one for one in world.ran[begun:] if one.purpose is Purpose.RACE]
    posts = [one for one in world.ran[begun:] if one.purpose is Purpose.POST]
    assert min(one.block for one in posts) > max(one.block for one in races)


def test_a_challenger_that_is_vetoed_gets_no_further_pair_and_its_challenge_ends() -> None:
    certification = CertificationSettings(attempts=1, most_pairs=6)
    world = World({"a": 0.5}, certification=certification)
    world.child("a")
    world.drive()
    world.over = True
    for request in world.next():
        world.record(request)
    world.history.veto({"a"})
    world.drive()
    assert [one.kind for one in world.decided][:2] == [BEGUN, ENDED]
    assert world.decided[1].detail["verdict"] != "certified"
    assert purposes(world.ran).count(Purpose.RACE) == 2


def test_a_chance_of_passing_is_simulated_anew_only_when_a_row_moved_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []

    def small(*known: object) -> float:
        asked.append(known)
        return 0.0

    monkeypatch.setattr("evo.search.certification.chance_of", small)
    gains = {"a": 0.02} | {f"c{k}": -0.5 for k in range(40)}
    world = World(gains, certification=CertificationSettings())
    for name in gains:
        world.child(name)
    world.drive()
    assert asked
    assert all(again != before for before, again in itertools.pairwise(asked))
    assert len(asked) < purposes(world.ran).count(Purpose.SCREEN) / 2


@pytest.mark.parametrize("every", [1, 3])
def test_another_process_goes_on_as_this_one_would_have(every: int) -> None:
    gains = {f"c{k}": 0.05 * k for k in range(6)}
    certification = CertificationSettings(attempts=1, most_pairs=4)

    def search(restarts: bool) -> World:
        world = World(gains, certification=certification)
        for name in gains:
            world.child(name)
        for closing in (False, True):
            world.over = closing
            while world.drive(most=every):
                if restarts:
                    world.restart()
        return world

    once, often = search(False), search(True)
    assert often.ran == once.ran
    assert often.decided == once.decided


def test_runs_that_cannot_be_paid_for_are_left_out() -> None:
    world = World()
    world.child("a")
    state = SearchState({}, ("a",), False, lambda request: request.variant_id != "seed")
    assert [one.variant_id for one in world.scheduler.next(state).runs] == ["a"]


def test_the_duties_are_one_tuple_and_every_one_of_them_says_what_it_is_for() -> None:
    assert len(set(DUTIES)) == len(DUTIES)
    assert all(duty.__doc__ for duty in DUTIES)


def test_of_several_phases_at_once_the_furthest_one_is_named_and_every_purpose_has_one() -> None:
    assert phase_of([]) is None
    assert all(phase_of([one]) is not None for one in Purpose)
    assert phase_of([Purpose.SCREEN, Purpose.GRADUATE, Purpose.CALIBRATE]) is Phase.GRADUATING
    assert phase_of([Purpose.REFERENCE, Purpose.RACE]) is Phase.RACING


# -- The loop without threads that the tournament and the studies use.


def test_the_loop_runs_and_decides_what_the_scheduler_asked_directly_does() -> None:
    gains = {f"c{k}": 0.05 * k for k in range(9)}
    certification = CertificationSettings(attempts=2, most_pairs=6)
    direct = World(gains, certification=certification)
    for name in gains:
        direct.child(name)
    direct.drive()
    direct.over = True
    direct.drive()

    looped = World(gains, certification=certification)
    waiting = iter(gains)
    search = loop_over(looped, lambda: next(waiting, None), lambda: False)
    while request := search.next():
        record(looped, search, request)

    assert looped.ran == direct.ran
    assert search.decisions == direct.decided
    assert {BEGUN, ENDED, LEADERS, FINAL} <= {one.kind for one in search.decisions}


def test_the_loop_runs_a_pair_in_one_go_and_proposes_only_what_it_runs_next() -> None:
    alone = POLICY.model_copy(update={"race_share": 0.0})
    gains = {f"c{k}": 0.3 * k for k in range(60)}
    world = World(gains, policy=alone, certification=CertificationSettings())
    proposed: list[str] = []

    def propose() -> str:
        proposed.append(f"c{len(proposed)}")
        return proposed[-1]

    search = loop_over(world, propose, lambda: len(world.ran) >= 60)
    while request := search.next():
        assert len(proposed) <= 1 + sum(one.purpose is Purpose.SCREEN for one in world.ran)
        record(world, search, request)
    pairs = {Purpose.RACE, Purpose.POST}
    paired = [at for at, one in enumerate(world.ran) if one.purpose in pairs]
    assert len(paired) > 4
    assert Purpose.SCREEN in purposes(world.ran[paired[0] :]), "one began during the search"
    for first, second in zip(paired[::2], paired[1::2], strict=True):
        assert second == first + 1
        assert world.ran[first].block == world.ran[second].block


def test_the_loop_ends_where_no_run_can_be_paid_for() -> None:
    world = World()
    search = SynchronousSearch(
        world.scheduler, lambda: "a", lambda: False, allows=lambda request: False
    )
    assert search.next() is None


def test_what_is_due_between_the_search_and_what_follows_it_is_done_once() -> None:
    world = World({"a": 0.3, "b": 0.2})
    ended: list[int] = []
    waiting = iter("ab")
    search = loop_over(
        world, lambda: next(waiting, None), lambda: False, lambda: ended.append(len(world.ran))
    )
    while request := search.next():
        record(world, search, request)
    screens = [at for at, one in enumerate(world.ran) if one.purpose is Purpose.SCREEN]
    finals = [at for at, one in enumerate(world.ran) if one.purpose is Purpose.FINAL]
    assert len(ended) == 1
    assert screens[-1] < ended[0] <= finals[0]


def loop_over(
    world: World,
    propose: Callable[[], str | None],
    is_over: Callable[[], bool],
    at_end: Callable[[], None] = lambda: None,
) -> SynchronousSearch:
    def born() -> str | None:
        child = propose()
        if child is not None:
            world.lineage.add(child, (Parent("seed", "parent"),))
        return child

    return SynchronousSearch(world.scheduler, born, is_over, at_end=at_end)


def record(world: World, search: SynchronousSearch, request: RunRequest) -> None:
    world.add_row(request)
    search.tell(request)


def test_who_is_worth_it_is_run_again_before_a_new_child_and_the_fixed_share_rests() -> None:
    wanted: list[str] | None = None
    world = World({"a": 0.2, "b": 0.1}, repeats=lambda: wanted)
    for name in ("a", "b"):
        world.child(name)
    screened: list[RunRequest] = []
    while len(screened) < 2:
        (request,) = world.next()
        world.record(request)
        screened += [request] if request.purpose is Purpose.SCREEN else []
    world.child("c")
    wanted = ["b", "a"]  # the fixed share would take the front member, a
    (first,) = world.next()
    assert (first.variant_id, first.purpose, first.block) == ("b", Purpose.REMEASURE, 1)
    (second,) = world.next(under_way=[first])
    assert (second.variant_id, second.purpose) == ("a", Purpose.REMEASURE)
    wanted = []
    (third,) = world.next()
    assert (third.variant_id, third.purpose) == ("c", Purpose.SCREEN)
    world.history.veto(["b"])
    wanted = ["b"]
    assert world.next()[0].purpose is not Purpose.REMEASURE
