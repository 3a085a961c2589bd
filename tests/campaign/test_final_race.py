"""The leaders' race at the end of a search: who takes part, on which blocks, and what a kill leaves of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pytest

from evo.runtime.budget import BudgetSettings
from evo.search.certification import FINAL, LEADERS
from evo.search.scheduler import PolicySettings
from population.reading import decisions, measurements, source_of
from population.types import Measurement, Purpose, RunRequest, Status
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store

POLICY = PolicySettings(seed_blocks=2, seed_repeats=0, final_blocks=2, race_share=0.4)
BUDGET = BudgetSettings(variants=20)


@pytest.fixture(autouse=True)
def four_leaders(monkeypatch):
    monkeypatch.setattr("evo.search.scheduler.MAX_LEADERS", 4)


def raced(store) -> list[RunRequest]:
    rows = [row.measurement.request for row in measurements(store)]
    return [request for request in rows if request.purpose is Purpose.RACE]


def run(tmp_path, name="campaign", evaluator=None, campaign_seed=0, **changes):
    open_store = make_store(tmp_path / f"{name}.db")
    make_campaign(
        open_store,
        evaluator=evaluator or FakeEvaluator(),
        policy=POLICY.model_copy(update=changes),
        budget=BUDGET,
        campaign_seed=campaign_seed,
    ).run()
    return open_store


def test_the_leaders_race_on_blocks_new_to_all_of_them_and_the_worse_half_leaves(tmp_path):
    with run(tmp_path)() as store:
        (begun,) = decisions(store, (LEADERS,))
        rows, (final,) = measurements(store), decisions(store, (FINAL,))
    blocks: dict[str, set[int]] = {}
    for row in rows:
        request = row.measurement.request
        if request.purpose is Purpose.RACE:
            blocks.setdefault(request.variant_id, set()).add(request.block)
    assert set(blocks) == set(begun.detail["leaders"]) and len(blocks) == 4
    before = {
        row.measurement.request.block
        for row in rows
        if row.id <= begun.detail["seen"] and row.measurement.request.variant_id in blocks
    }
    first = begun.detail["first_block"]
    assert first > max(before)
    runs = sorted(len(mine) for mine in blocks.values())
    assert runs[0] == runs[1] < runs[2] == runs[3]  # two left after the first round
    assert sum(runs) <= begun.detail["runs"]
    assert len(blocks[str(final.variant_id)]) == runs[3]  # the winner meets the seed
    assert final.detail["first_block"] > max(max(mine) for mine in blocks.values())


def test_the_race_costs_no_more_than_its_share_of_the_search(tmp_path):
    with run(tmp_path, race_share=0.1)() as store:
        counts = Counter(row.measurement.request.purpose for row in measurements(store))
    searched = counts[Purpose.SCREEN] + counts[Purpose.REMEASURE]
    assert 0 < counts[Purpose.RACE] <= 0.1 * searched


def test_without_a_share_there_is_no_race(tmp_path):
    with run(tmp_path, race_share=0.0)() as store:
        assert not raced(store) and not decisions(store, (LEADERS,))


def test_a_leader_that_fails_in_the_race_cannot_win_it(tmp_path):
    with run(tmp_path, "sound")() as store:
        (sound,) = decisions(store, (FINAL,))
    winner = str(sound.variant_id)

    def fails(request: RunRequest, source: str) -> Status | None:
        bad = request.purpose is Purpose.RACE and request.variant_id == winner
        return Status.CRASHED if bad else None

    with run(tmp_path, "bad", evaluator=FakeEvaluator(fails=fails))() as store:
        begun, final = decisions(store, (LEADERS, FINAL))
    if winner in begun.detail["leaders"]:
        assert final.variant_id != winner


@dataclass
class FakeKnower(FakeEvaluator):
    """Children with a rate above .3 know the rows that are always asked: at others they are worse."""

    def evaluate(self, request, source, slot, watch) -> Measurement:
        found = super().evaluate(request, source, slot, watch)
        rate = float(source.split()[2])
        score = 2.0 + abs(rate - 0.3)
        unseen = score + (0.4 if rate > 0.3 else 0.0)
        metrics = {**found.metrics, "unseen_bpb": unseen, "val_bpb": score}
        return replace(found, metrics=metrics)


def test_who_only_knows_the_rows_that_are_always_asked_does_not_win_the_race(tmp_path):
    both = 0
    for world in range(8):  # in which both kinds come into the race is left to chance
        with run(tmp_path, str(world), FakeKnower(), world)() as store:
            (begun,), (final,) = decisions(store, (LEADERS,)), decisions(store, (FINAL,))
            racing = {final.variant_id, *begun.detail["leaders"]}
            rates = {one: float(source_of(store, one).split()[2]) for one in racing}
        if min(rates.values()) < 0.3 < max(rates.values()):
            both += 1
            assert rates[final.variant_id] < 0.3
        if both == 2:
            return
    assert both


def test_a_race_that_was_interrupted_goes_on_with_the_same_leaders_and_repeats_no_run(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    evaluator = FakeEvaluator()
    stopped = make_campaign(open_store, evaluator=evaluator, policy=POLICY, budget=BUDGET)

    def stop_in_the_race(event) -> None:
        if event.kind == "measured" and event.text.startswith("race"):
            stopped.stop()

    stopped.components.board.listeners.append(stop_in_the_race)
    assert not stopped.run().complete
    with open_store() as store:
        made = raced(store)
        assert made and not decisions(store, (FINAL,))
    assert (
        make_campaign(open_store, evaluator=evaluator, policy=POLICY, budget=BUDGET).run().complete
    )
    with open_store() as store:
        assert len(decisions(store, (LEADERS,))) == 1
        requests = raced(store)
    assert requests[: len(made)] == made and len(set(requests)) == len(requests)
