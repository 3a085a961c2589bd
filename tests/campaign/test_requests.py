"""What people ask of a campaign is answered in order, once, whatever is asked and whenever it is killed."""

from __future__ import annotations

import json

import pytest

from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from evo.search.certification import CertificationSettings
from evo.search.halting import StopSettings
from population.reading import (
    events,
    first_proposal,
    measurements,
    pending,
    proposals,
    requests_of,
)
from population.reading.memory import notes
from population.store import Store
from population.types import Outcome, Parent, Proposal, variant_id
from tests.campaign.fakes import SEED, FakeEvaluator, make_campaign, make_store

OURS = "LR = 0.125\nDEPTH = 2\n"
ROOT = variant_id(SEED)


def ask_inject(store, source=OURS, parent=ROOT, author="ada", idea="a lower rate"):
    detail = {"source": source, "parent_id": parent, "idea": idea}
    return store.add_request("inject", detail, author)


def said(store, kind="request"):
    return [event.text for event in events(store) if event.kind == kind]


def test_a_persons_variant_is_a_proposal_with_its_author_and_is_measured(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store:
        ask_inject(store)
    make_campaign(open_store, budget=BudgetSettings(variants=3)).run()
    with open_store() as store:
        made = first_proposal(store, variant_id(OURS))
        assert (made.operator, made.author, made.idea) == ("inject", "ada", "a lower rate")
        assert made.parents == (Parent(ROOT, "parent"),)
        assert measurements(store, variant_id=made.variant_id)
        children = [one for one in proposals(store, after=1) if one.outcome is Outcome.VARIANT]
        assert len(children) == 3  # it counts in the budget
        assert any("ada put in" in text for text in said(store))
        assert pending(store) == []


def test_it_is_taken_up_while_the_campaign_runs_and_measured_before_those_that_wait(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")

    def ask() -> None:
        with open_store() as store:
            ask_inject(store)

    evaluator = FakeEvaluator(seconds=0.15, at={3: ask})
    campaign = make_campaign(
        open_store,
        evaluator=evaluator,
        slots=1,
        budget=BudgetSettings(variants=12),
        loop=LoopSettings(queue=4),
    )
    campaign.run()
    order = [one.variant_id for one in evaluator.evaluated]
    with open_store() as store:
        made = first_proposal(store, variant_id(OURS))
        born = [one.variant_id for one in proposals(store) if one.outcome is Outcome.VARIANT]
    waited = [one for one in born[: born.index(made.variant_id)] if one != ROOT]
    assert any(order.index(one) > order.index(made.variant_id) for one in waited)


def test_it_is_measured_even_where_the_budget_is_spent(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    make_campaign(open_store, budget=BudgetSettings(variants=2)).run()
    with open_store() as store:
        ask_inject(store)
    make_campaign(open_store, budget=BudgetSettings(variants=2)).run()
    with open_store() as store:
        assert measurements(store, variant_id=variant_id(OURS))


def ask_as_agent(store, source=OURS):
    detail = {"source": source, "parent_id": ROOT, "idea": "wider", "within_budget": True}
    return store.add_request("inject", detail, "agent:ada")


def test_an_agents_variant_counts_in_the_budget_and_is_rejected_where_that_is_spent(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store:
        ask_as_agent(store)
    make_campaign(open_store, budget=BudgetSettings(variants=2)).run()
    with open_store() as store:
        assert first_proposal(store, variant_id(OURS)).author == "agent:ada"
        assert measurements(store, variant_id=variant_id(OURS))
        ask_as_agent(store, "LR = 0.25\nDEPTH = 3\n")
    make_campaign(open_store, budget=BudgetSettings(variants=2)).run()
    with open_store() as store:
        children = [one for one in proposals(store, after=1) if one.outcome is Outcome.VARIANT]
        assert len(children) == 2 and pending(store) == []
        (late,) = [one for one in proposals(store) if one.outcome is Outcome.FAILED]
        assert (late.author, late.reason) == ("agent:ada", "budget spent, variants (2)")


def test_an_agents_variant_is_rejected_where_a_rule_ended_the_search(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    proof = CertificationSettings(attempts=2, most_pairs=2)
    stop = StopSettings(no_certified_gain_for={"variants": 2})
    made = {"stop": stop, "certification": proof, "budget": BudgetSettings(variants=50)}
    assert make_campaign(open_store, **made).run().halt is not None
    with open_store() as store:
        ask_as_agent(store)
    assert make_campaign(open_store, **made).run().halt is not None
    with open_store() as store:
        late = proposals(store)[-1]
        assert (late.author, late.outcome) == ("agent:ada", Outcome.FAILED)
        assert late.reason.startswith("the search is over, stop.no_certified_gain_for.variants: ")


def test_an_agents_variant_waits_for_its_turn(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")

    def ask() -> None:
        with open_store() as store:
            ask_as_agent(store)

    evaluator = FakeEvaluator(seconds=0.15, at={3: ask})
    budget, loop = BudgetSettings(variants=12), LoopSettings(queue=4)
    make_campaign(open_store, evaluator=evaluator, slots=1, budget=budget, loop=loop).run()
    order = [one.variant_id for one in evaluator.evaluated]
    with open_store() as store:
        born = [one.variant_id for one in proposals(store) if one.outcome is Outcome.VARIANT]
    before = born[: born.index(variant_id(OURS))]
    assert all(order.index(one) < order.index(variant_id(OURS)) for one in before)


def test_a_claim_is_said_and_kept_and_asks_for_nothing_more(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store:
        store.add_request("claim", {"text": "warm up longer", "until": 4e9}, "agent:ada")
    make_campaign(open_store, budget=BudgetSettings(variants=1)).run()
    with open_store() as store:
        assert pending(store) == [] and "agent:ada works on: warm up longer" in said(store)
        assert [one.author for one in requests_of(store, "claim")] == ["agent:ada"]


def test_a_repeat_is_turned_away_with_its_reason(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store:
        ask_inject(store, source="LR  =  0.5 # the seed\nDEPTH = 2\n")
    make_campaign(open_store, budget=BudgetSettings(variants=1)).run()
    with open_store() as store:
        made = [one for one in proposals(store) if one.operator == "inject"]
        assert [one.outcome for one in made] == [Outcome.DUPLICATE]
        assert any(f"repeats {ROOT[:8]}" in text for text in said(store))


def test_an_idea_becomes_a_row_with_its_author(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store:
        store.add_request("idea", {"text": "warm up longer"}, "ada")
    make_campaign(open_store, budget=BudgetSettings(variants=1)).run()
    with open_store() as store:
        rows = store.query("SELECT text, author FROM ideas WHERE author = 'ada'")
        assert rows == [("warm up longer", "ada")]


def test_notes_of_people_are_rows_that_can_be_edited_and_deleted(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store:
        written = store.add_note("depth helps", "model")
        gone = store.add_note("width helps", "model")
        store.add_request("edit note", {"id": written, "text": "depth hurts"}, "ada")
        store.add_request("delete note", {"id": gone}, "ada")
        store.add_request("delete note", {"id": gone}, "bob")
        store.add_request("note", {"text": "it is noise", "evidence": [ROOT]}, "ada")
    make_campaign(open_store, budget=BudgetSettings(variants=1)).run()
    with open_store() as store:
        assert [(one.text, one.author, one.evidence) for one in notes(store)] == [
            ("depth hurts", "ada", ()),
            ("it is noise", "ada", (ROOT,)),
        ]
        assert f"there is no note {gone} any more" in said(store)


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("dance", {}),
        ("idea", None),
        ("idea", {"text": " "}),
        ("idea", {"text": "x" * 30_000}),
        ("idea", {"text": "half a pair \ud800"}),
        ("idea", {"text": 5}),
        ("inject", {}),
        ("inject", {"source": OURS, "parent_id": "f" * 64}),
        ("inject", {"source": "LR = 0.1 # \udfff\n", "parent_id": ROOT}),
        ("note", {"text": "x", "evidence": ["f" * 64]}),
        ("edit note", {"id": "x", "text": "x"}),
        ("delete note", {}),
        ("approve", {}),
        ("veto", []),
    ],
)
def test_a_request_that_makes_no_sense_is_said_and_the_campaign_goes_on(tmp_path, kind, detail):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store, store.transaction():
        row = store.add_request(kind, None, "\x1b[31mada")
        # as another program could write it, past what our own commands check
        store._execute("UPDATE requests SET detail = ? WHERE id = ?", [json.dumps(detail), row])
    ending = make_campaign(open_store, budget=BudgetSettings(variants=1)).run()
    with open_store() as store:
        assert "budget spent" in ending.reason
        assert pending(store) == []
        assert any("asked for" in text for text in said(store))
        assert "\x1b" not in "".join(said(store))
        assert not [one for one in proposals(store) if one.operator == "inject"]


@pytest.mark.parametrize("kind", ["idea", "inject"])
def test_a_kill_between_taking_a_request_and_answering_it_loses_and_repeats_nothing(
    tmp_path, monkeypatch, kind
):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store:
        ask_inject(store) if kind == "inject" else store.add_request("idea", {"text": "warm up"})
    real = Store.finish_request

    def killed(self, id):
        real(self, id)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "finish_request", killed)
        with pytest.raises(RuntimeError, match="killed"):
            make_campaign(open_store).run()
    with open_store() as store:
        assert len(pending(store)) == 1
    make_campaign(open_store, budget=BudgetSettings(variants=2)).run()
    with open_store() as store:
        assert pending(store) == []
        told = store.query("SELECT count(*) FROM ideas WHERE text = 'warm up'")[0][0]
        put_in = [one for one in proposals(store) if one.operator == "inject"]
        assert (told, len(put_in)) == ((0, 1) if kind == "inject" else (1, 0))


def test_an_exact_campaign_goes_on_after_a_number_that_a_kill_left_unused(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    exact = {"slots": 1, "loop": LoopSettings(exact=True)}
    make_campaign(open_store, budget=BudgetSettings(variants=2), **exact).run()
    with open_store() as store:
        number = proposals(store)[-1].number + 2  # a person's, while the one before it was made
        store.add_proposal(Proposal(number, "inject", (), Outcome.DUPLICATE))
    make_campaign(open_store, budget=BudgetSettings(variants=5), **exact).run()
    with open_store() as store:
        assert sum(one.outcome is Outcome.VARIANT for one in proposals(store)) == 6
