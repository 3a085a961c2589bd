"""What an edit did has two answers, believed and paired, and whoever asks gets one of these."""

from __future__ import annotations

from pathlib import Path

import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.effects_of_edits import (
    UNKNOWN,
    believed_effect,
    better_than_parents,
    ideas_with_effects,
    paired_effect,
)
from evo.analysis.ranking import earnings, ranking
from evo.analysis.variant_history import effects, story
from evo.proposals.ideas import Judge, Lines
from evo.terminal.tables import idea_outcome
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import measurements
from population.run_history import RunHistory
from population.store import Store
from population.types import Outcome, Parent, Proposal, Purpose, Status, Variant, variant_id

from .built import CONFIG, SEED, Built


@pytest.fixture
def built(tmp_path: Path) -> Built:
    built = Built(tmp_path)
    built.runs(built.seed, [2.50, 2.56, 2.40], Purpose.CALIBRATE)
    better = built.child(SEED.replace("0.1", "0.2"), built.seed)
    built.runs(better, [2.45, 2.52], Purpose.SCREEN)
    worse = built.child(SEED.replace("0.1", "0.3"), better)
    built.run(worse, 2.47)
    built.child(SEED.replace("0.1", "0.4"), better)  # waits for its first run
    return built


def family(store: Store, seed_id: str) -> tuple[RunHistory, Lineage]:
    lineage = Lineage.of(store)
    history = RunHistory(Record.of(store).objectives, seed_id, family=lineage)
    for row in measurements(store):
        history.add(row)
    return history, lineage


def test_an_idea_is_told_in_the_campaigns_own_metric_by_the_same_pairs(built: Built) -> None:
    """A repaired child is held against what its failed parent was made from."""
    metric = {"name": "accuracy", "direction": "maximise", "epsilon": 0.0, "limit": None}
    built.store.set_setting("config", {**CONFIG, "objectives": [metric]})
    idea = built.store.add_idea("count words", "ada")

    def child(rate: str, parents: tuple[Parent, ...], operator: str) -> str:
        source = SEED.replace("0.1", rate)
        made = Variant(variant_id(source), source, fingerprint(source))
        built.number += 1
        built.store.add_proposal(
            Proposal(built.number, operator, parents, Outcome.VARIANT, variant=made, idea_id=idea)
        )
        return made.id

    built.run(built.seed, 9.0, 7, more={"accuracy": 0.5})
    first = child("0.7", (Parent(built.seed, "parent"),), "llm_mutate")
    built.run(first, 9.0, 7, more={"accuracy": 0.6})
    broken = child("0.8", (Parent(built.seed, "parent"),), "llm_mutate")
    built.run(broken, None, 7, status=Status.CRASHED)
    both = (Parent(broken, "parent"), Parent(built.seed, "ancestor"))
    mended = child("0.9", both, "llm_repair")
    built.run(mended, 9.0, 7, more={"accuracy": 0.8})

    record = Record.of(built.store)
    (told,) = ideas_with_effects(built.store, record)
    assert (told.children, told.ok, told.failed, told.n) == (3, 2, 1, 2)
    assert told.effect == pytest.approx(0.2)
    said = idea_outcome(told, record.objective)
    assert "effect on accuracy" in said and "better" in said and "val_bpb" not in said
    assert set(effects(record)) >= {first, mended}


def test_the_paired_effect_is_one_wherever_it_is_told(built: Built) -> None:
    record = Record.of(built.store)
    history, _ = family(built.store, built.seed)
    better, worse, waits = (one.variant_id for one in record.births().values() if one.parents)
    assert better and worse and waits
    found = paired_effect(history, "proxy", better, built.seed)
    assert (found.difference, found.n) == (pytest.approx((-0.05 - 0.04) / 2), 2)
    assert effects(record)[better].difference == pytest.approx(found.difference)
    assert story(record, better, ()).chapters[-1].effect == effects(record)[better]
    assert effects(record).keys() == {better, worse}
    assert paired_effect(history, "proxy", waits, better) == UNKNOWN
    births = record.births()
    won = better_than_parents(record.rows, births, "proxy", record.objective)
    assert won == {better}
    assert [one.better for one in earnings(record)] == [1]


def test_the_believed_effect_is_the_difference_of_what_is_shown_of_both(built: Built) -> None:
    record = Record.of(built.store)
    history, lineage = family(built.store, built.seed)
    shown = {one.variant_id: one.estimates["val_bpb"] for one in ranking(record)}
    for child, made in record.births().items():
        if made.parents and child in shown:
            parent = made.parents[0].variant_id
            found = believed_effect(history, "proxy", child, parent)
            assert found.difference == pytest.approx(shown[child].mean - shown[parent].mean)
            (edit,) = Lines(history, lineage, "proxy").edits(built.store, parent, child, None)
            assert (edit.effect, edit.effect_se, edit.n) == found and edit.value == shown[
                child
            ].mean
            assert found.n == min(shown[child].n, shown[parent].n)
    idea = built.store.add_idea("a lower rate", "ada")
    first = next(one for one, made in record.births().items() if made.parents)
    built.store._change("UPDATE proposals SET idea_id = ? WHERE variant_id = ?", [idea, first])
    (judged,) = Judge(history, lineage, "proxy").ideas(built.store, None)
    assert judged.effect == believed_effect(history, "proxy", first, built.seed).difference
