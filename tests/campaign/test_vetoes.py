"""A person's veto: no parent, no front member and no run from then on, in this process and in the next."""

from __future__ import annotations

import time
from collections import Counter

from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from evo.search.certification import CertificationSettings
from evo.search.ladder_settings import Promotion
from evo.search.scheduler import PolicySettings
from population.reading import events, front, measurements, proposals, seed, unmeasured
from population.types import Purpose
from tests.campaign.fakes import LARGER, PROXY, FakeEvaluator, make_campaign, make_store


def purposes_in(store):
    return Counter(row.measurement.request.purpose for row in measurements(store))


def test_a_veto_counts_in_a_running_campaign_and_in_the_next(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    make_campaign(open_store, rungs=(PROXY, LARGER), promotion=Promotion.MANUAL).run()
    with open_store() as store:
        best = next(one for one in front(store, "proxy") if one != seed(store))
        before = max(made.number for made in proposals(store))
        store.add_request("veto", {"variant_id": best, "reason": "it reads the clock"}, "ann")
        store.add_request("veto", {"variant_id": seed(store)}, "ann")
        store.add_request("veto", {"variant_id": "nobody"}, "ann")
    second = make_campaign(
        open_store,
        rungs=(PROXY, LARGER),
        promotion=Promotion.MANUAL,
        budget=BudgetSettings(variants=30),
    )
    second.run()
    with open_store() as store:
        later = proposals(store, after=before)
        parents = {one.variant_id for made in later for one in made.parents}
        assert len(later) == 20 and best not in parents
        assert best not in front(store, "proxy") and seed(store) is not None
        assert store.query("SELECT kind, variant_id FROM decisions WHERE kind = 'vetoed'") == [
            ("vetoed", best)
        ]
        assert any("ann vetoed" in event.text for event in events(store))
    third = make_campaign(open_store, rungs=(PROXY, LARGER), promotion=Promotion.MANUAL)
    assert best in third.components.scheduler.graduation.ladder.vetoed
    assert best not in [one.variant_id for one in third.components.history.candidates("proxy")]
    with open_store() as store:
        store.add_request("unveto", {"variant_id": best}, "ann")
    third.run()
    with open_store() as store:
        assert best in [one.variant_id for one in third.components.history.candidates("proxy")]
        assert any("ann lifted the veto" in event.text for event in events(store))


def test_a_child_that_is_vetoed_before_its_turn_is_not_measured(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")

    def stop_when_one_waits():
        with open_store() as store:
            while not unmeasured(store, "proxy"):
                time.sleep(0.01)
        first.stop()

    evaluator = FakeEvaluator(at={2: stop_when_one_waits})
    first = make_campaign(open_store, evaluator=evaluator, slots=1)
    first.run()
    with open_store() as store:
        waits = unmeasured(store, "proxy")[0]
        store.add_request("veto", {"variant_id": waits}, "ann")
    make_campaign(open_store).run()
    with open_store() as store:
        assert measurements(store, variant_id=waits) == []
        assert purposes_in(store)[Purpose.SCREEN] == 9


def test_a_vetoed_champion_is_not_what_the_final_comparison_is_about(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    settings = {
        "policy": PolicySettings(seed_blocks=2, seed_repeats=0, final_blocks=2),
        "certification": CertificationSettings(attempts=1),
    }
    make_campaign(open_store, loop=LoopSettings(finish=False), **settings).run()
    with open_store() as store:
        best = next(one for one in front(store, "proxy") if one != seed(store))
        detail = {"number": 1, "champion": seed(store), "verdict": "certified"}
        store.add_decision("verdict", best, detail)
        store.add_request("veto", {"variant_id": best}, "ann")
    make_campaign(open_store, **settings).run()
    with open_store() as store:
        rows = [row.measurement.request for row in measurements(store)]
    final = {one.variant_id for one in rows if one.purpose is Purpose.FINAL}
    assert final and best not in final
