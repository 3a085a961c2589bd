"""Ideas are judged by all children that tried them; notes stand until someone deletes them."""

from __future__ import annotations

import math

import pytest
from population_records import add_variant, make_variant, scored

from evo.analysis.campaign_view import Record
from evo.analysis.effects_of_edits import ideas_with_effects
from population.reading import proposal
from population.reading.memory import ideas_by_variant, judged_ideas, notes
from population.store import Store
from population.types import Outcome, Parent, Proposal, Status


def propose(store: Store, number: int, name: str, **more: object) -> str:
    made = make_variant(name)
    parents = (Parent(make_variant("seed").id, "parent"),)
    store.add_proposal(
        Proposal(number, "llm_mutate", parents, Outcome.VARIANT, variant=made, **more)
    )
    return made.id


def test_an_idea_is_judged_by_all_its_children_on_the_blocks_both_ran_on(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    idea = store.add_idea("warm up longer", "ada")
    children = [propose(store, 2 + k, f"child {k}", idea_id=idea) for k in range(4)]
    for block, bpb in ((0, 2.0), (1, 2.2)):
        store.add_measurement(scored(seed, val_bpb=bpb, block=block))
    store.add_measurement(scored(children[0], val_bpb=1.9))
    store.add_measurement(scored(children[1], val_bpb=1.8))
    store.add_measurement(scored(children[1], val_bpb=2.0, block=1))
    store.add_measurement(scored(children[1], val_bpb=9.0, block=7))  # the seed did not run there
    store.add_measurement(scored(children[2], status=Status.CRASHED))
    (found,) = judged_ideas(store)
    assert (found.id, found.text, found.author) == (idea, "warm up longer", "ada")
    assert (found.children, found.ok, found.failed, found.waiting, found.n) == (4, 2, 1, 1, 0)
    assert found.effect is None  # of what metric, only who reads the whole campaign knows
    (told,) = ideas_with_effects(store, Record.of(store))
    assert told.n == 2 and told.effect == pytest.approx((-0.1 + -0.2) / 2)
    assert told.effect_se == pytest.approx(0.1 / math.sqrt(2) / math.sqrt(2))
    assert ideas_by_variant(store) == dict.fromkeys(children, idea)


def test_an_idea_nobody_tried_is_told_all_the_same(store: Store) -> None:
    store.add_idea("rest on Sundays", "ada")
    store.add_idea("work on Sundays", "bob")
    assert [one.author for one in judged_ideas(store)] == ["ada", "bob"]
    (found,) = judged_ideas(store, author="bob")
    assert (found.children, found.n, found.effect, found.effect_se) == (0, 0, None, None)


def test_what_a_model_or_a_person_thought_of_is_an_idea_and_the_same_words_are_one(
    store: Store,
) -> None:
    add_variant(store, 1, "seed")
    first = propose(store, 2, "first", idea="Warm up longer", author="model")
    again = propose(store, 3, "again", idea="warm up longer", author="other")
    propose(store, 4, "nudged", idea="LR 1 -> 2")  # our own operators have none
    propose(store, 5, "silent", author="model")
    assert ideas_by_variant(store) == {first: 1, again: 1}
    assert [one.text for one in judged_ideas(store)] == ["Warm up longer"]
    assert (proposal(store, 3).idea_id, proposal(store, 4).idea_id) == (1, None)


def test_a_note_can_be_put_otherwise_and_taken_back_and_its_row_stays(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    first = store.add_note("depth helps", "model", [seed], seen=7)
    second = store.add_note("width helps", "ada")
    assert store.edit_note(first, "depth helps a little", "bob")
    assert store.delete_note(second)
    (standing,) = notes(store)
    assert (standing.text, standing.author) == ("depth helps a little", "bob")
    assert (standing.evidence, standing.seen) == ((seed,), 7)
    assert standing.edited_at is not None
    assert not store.edit_note(second, "again", "bob")
    assert not store.delete_note(second)
    assert not store.delete_note(99)
    assert store.query("SELECT text, deleted > 0 FROM notes WHERE id = ?", [second]) == [
        ("width helps", 1)
    ]


def test_an_idea_whose_code_is_a_variant_already_does_not_wait_for_ever(store: Store) -> None:
    add_variant(store, 1, "seed")
    parents = (Parent(make_variant("seed").id, "parent"),)
    made = {"idea": "the same again", "author": "ada"}
    store.add_proposal(Proposal(2, "inject", parents, Outcome.DUPLICATE, "repeats", **made))
    assert judged_ideas(store) == []


def test_a_request_is_taken_or_withdrawn_once(store: Store) -> None:
    asked = store.add_request("note", {"text": "x"})
    assert store.finish_request(asked) and not store.finish_request(asked)
