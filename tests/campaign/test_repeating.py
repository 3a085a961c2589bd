"""Children whose code is known already: rejected, or measured where that is what the operator is for."""

from __future__ import annotations

import threading

from evo.runtime.budget import BudgetSettings
from operators.operator import Draft
from operators.replicate import Replicate
from population.reading import measurements, proposals
from population.types import Outcome, Purpose, variant_id
from tests.campaign.fakes import SEED, FakeOperator, make_campaign, make_store


def screened(store):
    """Whom the screens measured, in order."""
    requests = [row.measurement.request for row in measurements(store)]
    return [request.variant_id for request in requests if request.purpose is Purpose.SCREEN]


def test_a_search_without_new_children_closes_instead_of_spinning(tmp_path):
    class FakeRepeater(FakeOperator):
        def propose(self, request):
            return Draft(SEED, "nothing new")

    open_store = make_store(tmp_path / "campaign.db")
    ending = make_campaign(open_store, operators=[FakeRepeater()]).run()
    assert "no new child" in ending.reason
    with open_store() as store:
        assert not screened(store)
        assert {p.outcome for p in proposals(store, after=1)} == {Outcome.DUPLICATE}


def test_where_a_repeat_is_wanted_the_very_source_of_a_twin_does_not_wait_for_ever(tmp_path):
    twins = ["LR = 0.2\nDEPTH = 2\n", "LR = 0.2  # a twin\nDEPTH = 2\n"]

    class FakeRepeater(FakeOperator):
        def propose(self, request):
            return Draft([*twins, twins[1]][request.number % 3], "one of the twins")

    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(open_store, operators=[FakeRepeater("replicate")])
    guard = threading.Timer(200, campaign.stop, kwargs={"now": True})
    guard.start()
    ending = campaign.run()
    guard.cancel()
    assert "no new child" in ending.reason
    with open_store() as store:
        assert sorted(screened(store)) == sorted(variant_id(one) for one in twins)
        turned_away = f"repeats {variant_id(twins[1])[:8]}"
        assert turned_away in {one.reason for one in proposals(store)}


def test_replicates_are_measured_although_their_code_is_known(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    make_campaign(open_store, operators=[Replicate()], budget=BudgetSettings(variants=5)).run()
    with open_store() as store:
        made = [one for one in proposals(store) if one.operator == "replicate"]
        assert [one.outcome for one in made] == [Outcome.VARIANT] * 5
        assert {one.variant_id for one in made} == set(screened(store))
