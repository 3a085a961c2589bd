"""Children whose code is known already: rejected, or measured where that is what the operator is for."""

from __future__ import annotations

import threading

from evo.runtime.budget import BudgetSettings
from operators.operator import Draft, ProposalFailed
from operators.replicate import Replicate
from population.fingerprint import fingerprint
from population.reading import measurements, proposals
from population.types import LlmCall, Outcome, Parent, Proposal, Purpose, Variant, variant_id
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


class FakeAsker(FakeOperator):
    """Asks a model that says what `says` tells by parent, which is no edit; its calls are on record."""

    def __init__(self, open_store, says=lambda parent: "the same"):
        super().__init__("llm_mutate")
        self.open_store, self.says, self.asked = open_store, says, []

    def propose(self, request):
        parent = request.parent("parent").variant_id
        self.asked.append(parent)
        said = self.says(len(self.asked))
        with self.open_store() as store:
            call = ("mine", "m", "prompt", said, 9, 9, 0.0, 0.1, "ok", request.number)
            store.add_llm_call(LlmCall(*call))
        raise ProposalFailed("no usable edit in 2 answers", model="m")


def test_a_model_that_answers_the_same_twice_is_not_asked_that_again(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    asker = FakeAsker(open_store)
    proposer = make_campaign(open_store, operators=[asker]).components.proposer
    for number in range(2, 7):
        made = proposer.propose(number, None)
        with open_store() as store:
            store.add_proposal(made)
    assert len(asker.asked) == 2, "two answers alike were bought, and no third"
    assert (made.operator, made.reason) == ("none", "no operator can work here")


def test_a_model_whose_answers_differ_is_asked_on(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    asker = FakeAsker(open_store, lambda number: f"answer {number}")
    proposer = make_campaign(open_store, operators=[asker]).components.proposer
    for number in range(2, 7):
        with open_store() as store:
            store.add_proposal(proposer.propose(number, None))
    assert len(asker.asked) == 5


def test_it_is_asked_again_once_there_are_new_children_and_ever_more_rarely(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    asker = FakeAsker(open_store)
    proposer = make_campaign(open_store, operators=[asker]).components.proposer
    asked = []
    for number in range(2, 60):
        if number % 2:  # a child by somebody
            source = f"LR = 0.{number:03}\nDEPTH = 2\n"
            made = Variant(variant_id(source), source, fingerprint(source))
            parents = (Parent(variant_id(SEED), "parent"),)
            child = Proposal(number, "llm_mutate", parents[:0], Outcome.VARIANT, variant=made)
        else:
            child = proposer.propose(number, None)
        with open_store() as store:
            store.add_proposal(child)
        asked.append(len(asker.asked))
    assert asked[:4] == [1, 1, 2, 2]
    assert 5 <= asked[-1] <= 8, "29 questions had been as many answers"
