"""The loop over a real store, with an evaluator that sleeps instead of training."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from evo.search.ladder_settings import Promotion
from evo.search.scheduler import PolicySettings
from population.reading import (
    counts_by_status,
    events,
    front,
    measurements,
    proposals,
    seed,
    unmeasured,
)
from population.run_history import MAX_ATTEMPTS
from population.types import (
    CampaignState,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)
from tests.campaign.fakes import (
    LARGER,
    PROXY,
    SEED,
    FakeEvaluator,
    FakeOperator,
    make_campaign,
    make_store,
)


def purposes_in(store):
    return Counter(row.measurement.request.purpose for row in measurements(store))


def test_a_campaign_measures_the_seed_then_as_many_children_as_its_budget_says(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    ending = make_campaign(open_store).run()
    with open_store() as store:
        counted = purposes_in(store)
        assert counted[Purpose.CALIBRATE] == 2
        assert counted[Purpose.SCREEN] == 10
        assert counted[Purpose.REMEASURE] >= 1
        assert front(store, "proxy")
    assert ending.complete and "variants" in ending.reason


def test_children_are_made_while_all_slots_run_so_that_none_waits_for_a_model(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")

    class FakePatient(FakeEvaluator):
        """Ends a child's run only when a child waits for each slot, as long as more may be made."""

        def evaluate(self, request, source, slot, watch):
            under_way.append(request)
            with open_store() as store:
                end = time.monotonic() + 60
                while (
                    request.purpose is Purpose.SCREEN
                    and waiting(store) < 2
                    and len(proposals(store)) < 31
                ):
                    assert time.monotonic() < end, "nobody made a child"
                    time.sleep(0.01)
            under_way.remove(request)
            return super().evaluate(request, source, slot, watch)

    under_way: list[RunRequest] = []

    def waiting(store):
        screens = [one for one in under_way if one.purpose is Purpose.SCREEN]
        return len(unmeasured(store, PROXY.name)) - len(screens)

    campaign = make_campaign(
        open_store,
        evaluator=FakePatient(),
        operators=[FakeOperator(seconds=0.05)],
        budget=BudgetSettings(variants=30),
    )
    assert "variants" in campaign.run().reason
    with open_store() as store:
        assert counts_by_status(store).keys() == {Status.OK}


@pytest.mark.soak
def test_slots_stay_busy_while_a_model_takes_half_as_long_as_a_run(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(
        open_store,
        evaluator=FakeEvaluator(seconds=0.4),
        operators=[FakeOperator(seconds=0.2)],
        budget=BudgetSettings(variants=30),
    )
    campaign.run()
    with open_store() as store:
        rows = [row.measurement for row in measurements(store)]
    first, last = min(r.started_at for r in rows), max(r.started_at for r in rows)
    busy = sum(max(0.0, min(r.started_at + r.wall_seconds, last) - r.started_at) for r in rows)
    assert busy / (2 * (last - first)) >= 0.93


def test_a_failing_child_is_a_row_and_the_campaign_goes_on(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")

    def fails(request, source):
        return Status.CRASHED if request.purpose is Purpose.SCREEN and source < "LR = 0.5" else None

    make_campaign(open_store, evaluator=FakeEvaluator(fails=fails)).run()
    with open_store() as store:
        counts = counts_by_status(store)
        assert counts[Status.CRASHED] > 0 and counts[Status.OK] > 2
        on_front = front(store, "proxy")
        failed = {
            r.measurement.request.variant_id
            for r in measurements(store)
            if r.measurement.status is not Status.OK
        }
        assert not failed & set(on_front)


def test_a_broken_operator_is_a_failed_proposal_and_others_go_on(tmp_path):
    class FakeBroken(FakeOperator):
        def propose(self, request):
            raise RuntimeError("boom")

    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(open_store, operators=[FakeBroken(name="broken"), FakeOperator()])
    campaign.run()
    with open_store() as store:
        assert purposes_in(store)[Purpose.SCREEN] == 10
        assert any(p.outcome is Outcome.FAILED and "boom" in p.reason for p in proposals(store))


def test_a_seed_that_fails_ends_the_campaign_with_its_reason(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    evaluator = FakeEvaluator(fails=lambda request, source: Status.CRASHED)
    for _ in range(2):  # and ends again where it is resumed
        ending = make_campaign(open_store, evaluator=evaluator).run()
        assert "the seed crashed" in ending.reason and ending.state is CampaignState.FAILED
    with (
        open_store() as store
    ):  # two slots began at once; nothing more is run that nothing is compared with
        assert sum(purposes_in(store).values()) <= 2 and Purpose.SCREEN not in purposes_in(store)


def test_a_seed_that_fails_on_one_block_and_has_a_score_on_another_does_not_fail_the_campaign(
    tmp_path,
):
    open_store = make_store(tmp_path / "campaign.db")
    evaluator = FakeEvaluator(
        fails=lambda request, source: Status.CRASHED if request.block == 1 else None
    )
    ending = make_campaign(open_store, evaluator=evaluator).run()
    assert ending.complete and "the seed crashed" in ending.reason


def test_a_seed_that_no_slot_can_measure_ends_the_campaign_until_a_resume_can_measure_it(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    evaluator = FakeEvaluator(fails=lambda request, source: Status.LOST)
    for _ in range(2):
        ending = make_campaign(open_store, evaluator=evaluator).run()
        assert "the seed lost" in ending.reason and "`evo resume` tries it anew" in ending.reason
    with open_store() as store:
        assert counts_by_status(store)[Status.LOST] >= 2 * MAX_ATTEMPTS
    ending = make_campaign(open_store).run()
    with open_store() as store:
        assert purposes_in(store)[Purpose.SCREEN] == 10, ending.reason


def test_a_seed_that_is_given_up_on_one_block_while_another_runs_ends_the_campaign(tmp_path):
    def lose(request, source):
        if request.block == 1:
            time.sleep(0.3)  # still at its first attempt when block 0 is given up
        return Status.LOST

    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(open_store, evaluator=FakeEvaluator(fails=lose))
    ended = threading.Thread(target=campaign.run, daemon=True)
    ended.start()
    ended.join(timeout=60)
    held_up = ended.is_alive()
    campaign.stop(now=True)
    ended.join(timeout=60)
    assert not held_up


def test_a_child_whose_runs_were_all_lost_does_not_hold_up_a_campaign_that_goes_on(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")

    def lose_children(request, source):
        return Status.LOST if request.purpose is Purpose.SCREEN else None

    lossy = FakeEvaluator(fails=lose_children)
    make_campaign(open_store, evaluator=lossy, budget=BudgetSettings(variants=2)).run()
    again = make_campaign(open_store, budget=BudgetSettings(variants=4))
    ended = threading.Thread(target=again.run, daemon=True)
    ended.start()
    ended.join(timeout=120)
    held_up = ended.is_alive()
    again.stop(now=True)
    ended.join(timeout=120)
    assert not held_up
    with open_store() as store:
        assert purposes_in(store)[Purpose.SCREEN] == 2
        assert len(unmeasured(store, PROXY.name)) == 2


def test_a_lost_run_is_made_again_and_counted_once(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    lost = set()

    def fails(request, source):
        if request not in lost:
            lost.add(request)
            return Status.LOST
        return None

    make_campaign(open_store, evaluator=FakeEvaluator(fails=fails)).run()
    with open_store() as store:
        assert purposes_in(store)[Purpose.SCREEN] == 10
        assert counts_by_status(store)[Status.LOST] == len(lost)


def test_stopping_finishes_what_runs_and_resuming_repeats_nothing(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    evaluator = FakeEvaluator(at={4: lambda: campaign.stop()})
    campaign = make_campaign(open_store, evaluator=evaluator)
    ending = campaign.run()
    assert not ending.complete
    with open_store() as store:
        before = {row.id: row.measurement.request for row in measurements(store)}
        assert not store.query("SELECT * FROM runs")
    assert 4 <= len(before) < 12
    second = FakeEvaluator()
    make_campaign(open_store, evaluator=second).run()
    assert not set(before.values()) & set(second.evaluated)
    with open_store() as store:
        assert purposes_in(store)[Purpose.SCREEN] == 10


def test_stopping_now_ends_runs_under_way_without_a_row(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    evaluator = FakeEvaluator(seconds=3600, at={2: lambda: campaign.stop(now=True)})
    campaign = make_campaign(open_store, evaluator=evaluator)
    campaign.run()
    with open_store() as store:
        assert measurements(store) == [] and not store.query("SELECT * FROM runs")


def test_another_process_can_ask_for_a_stop(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")

    def ask():
        with open_store() as store:
            store.add_request("stop", {}, "someone")

    campaign = make_campaign(
        open_store,
        evaluator=FakeEvaluator(seconds=0.2, at={3: ask}),
        budget=BudgetSettings(variants=5000),
    )
    assert "stopped" in campaign.run().reason
    with open_store() as store:
        assert any("someone asked to stop" in event.text for event in events(store))


def test_the_seconds_budget_ends_a_campaign_without_measuring_what_waits(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(
        open_store, evaluator=FakeEvaluator(seconds=0.1), budget=BudgetSettings(seconds=1.0)
    )
    assert "seconds" in campaign.run().reason
    with open_store() as store:
        assert unmeasured(store, PROXY.name)


def test_leader_and_seed_meet_on_blocks_that_chose_nobody(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    make_campaign(
        open_store, policy=PolicySettings(seed_blocks=2, seed_repeats=0, final_blocks=3)
    ).run()
    with open_store() as store:
        rows = [row.measurement.request for row in measurements(store)]
    final = [request for request in rows if request.purpose is Purpose.FINAL]
    searched = {(o.variant_id, o.block) for o in rows if o.purpose is not Purpose.FINAL}
    assert len(final) == 6 and len({request.variant_id for request in final}) == 2
    assert not {(request.variant_id, request.block) for request in final} & searched


def test_the_best_graduates_beside_the_seed_after_a_one_step_check(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    make_campaign(open_store, rungs=(PROXY, LARGER)).run()
    with open_store() as store:
        built = [
            r.measurement.request.variant_id for r in measurements(store, rung="larger/one-step")
        ]
        ran = [r.measurement.request.variant_id for r in measurements(store, rung="larger")]
    assert len(set(built)) == 2 and set(ran) == set(built)


def test_a_variant_that_does_not_build_stays_below_and_a_large_one_does_not(tmp_path):
    class FakeBloated(FakeEvaluator):
        def evaluate(self, request, source, slot, watch):
            found = super().evaluate(request, source, slot, watch)
            if request.rung.endswith("one-step") and source != SEED:
                found.metrics["parameters"] = 1e6
            return found

    def unbuildable(request, source):
        return Status.CRASHED if request.rung.endswith("one-step") and source != SEED else None

    for name, evaluator in (("large", FakeBloated()), ("broken", FakeEvaluator(fails=unbuildable))):
        open_store = make_store(tmp_path / f"{name}.db")
        make_campaign(open_store, evaluator=evaluator, rungs=(PROXY, LARGER)).run()
        with open_store() as store:
            assert bool(measurements(store, rung="larger")) == (name == "large")


def test_manual_promotion_waits_for_a_person_and_then_goes_on(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(open_store, rungs=(PROXY, LARGER), promotion=Promotion.MANUAL)
    ending = campaign.run()
    assert "evo approve" in ending.reason and not ending.complete
    with open_store() as store:
        assert measurements(store, rung="larger") == []
        (pick,) = [one.variant_id for one in campaign.components.scheduler.graduation.waiting()]
        store.add_request("approve", {"variant_id": pick}, "someone")
    ending = make_campaign(
        open_store,
        rungs=(PROXY, LARGER),
        promotion=Promotion.MANUAL,
        loop=LoopSettings(search=False),
    ).run()
    assert ending.complete
    with open_store() as store:
        assert {r.measurement.request.variant_id for r in measurements(store, rung="larger")} >= {
            pick
        }


@pytest.mark.parametrize("cut", [None, 3, 9])
def test_an_exact_campaign_gives_the_same_rows_again_also_across_an_interruption(tmp_path, cut):
    def rows_of(path, interrupt):
        open_store = make_store(path)

        def campaign(evaluator):
            return make_campaign(
                open_store,
                slots=1,
                loop=LoopSettings(exact=True),
                evaluator=evaluator,
                operators=[FakeOperator(seconds=0.01), FakeOperator(name="second")],
                campaign_seed=7,
            )

        stop = {interrupt: lambda: first.stop(now=True)} if interrupt else {}
        first = campaign(FakeEvaluator(seconds=0.02, at=stop))
        ending = first.run()
        assert ending.complete is not bool(interrupt)
        if interrupt:
            campaign(FakeEvaluator()).run()
        with open_store() as store:
            return [
                (r.measurement.request, r.measurement.metrics["val_bpb"])
                for r in measurements(store)
            ], [(p.number, p.variant_id, p.parents) for p in proposals(store)]

    assert rows_of(tmp_path / "a.db", None) == rows_of(tmp_path / "b.db", cut)


def test_a_child_whose_first_run_was_made_for_calibration_is_waited_for_no_more(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    waiting = Variant(variant_id("LR = 0.3\nDEPTH = 2\n"), "LR = 0.3\nDEPTH = 2\n", "waiting")
    with open_store() as store:
        root = seed(store)
        parents = (Parent(root, "parent"),)
        store.add_proposal(Proposal(2, "inject", parents, Outcome.VARIANT, variant=waiting))
    asked = [[RunRequest(one, "proxy", 0, 0, Purpose.CALIBRATE)] for one in (root, waiting.id)]
    campaign = make_campaign(
        open_store, loop=LoopSettings(search=False, finish=False), calibrations=asked
    )
    running = threading.Thread(target=campaign.run, daemon=True)
    running.start()
    running.join(timeout=120)
    assert not running.is_alive()
    with open_store() as store:
        assert purposes_in(store) == {Purpose.CALIBRATE: 2}


def test_a_finished_campaign_that_is_resumed_runs_nothing_more(tmp_path):
    for variants in (12, 14, 16, 18, 20):  # after some of them the seed would be due as a reference
        open_store = make_store(tmp_path / f"{variants}.db")
        budget = BudgetSettings(variants=variants)
        counts = []
        for _ in range(2):
            assert make_campaign(open_store, budget=budget).run().complete
            with open_store() as store:
                counts.append(len(measurements(store)))
        assert counts[0] == counts[1], variants
