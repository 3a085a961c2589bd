"""The picture of the family: what is folded, what stays in sight, and where everything lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo.analysis.campaign_view import Record
from evo.analysis.ranking import ranking
from evo.report.lineage import MIN_FOLDED, YOUNG, Folds, Marked, fold, lineage, place_all
from evo.report.page import colours
from population.store import Store
from tests.analysis.built import SEED, Built
from tests.report.large import campaign_of


def drawn(record: Record, folds: Folds, marked: Marked) -> dict[str, Any]:
    ranked = {one.variant_id: one for one in ranking(record)}
    hues = colours(made.operator for made in record.births().values())
    figure = lineage(record, folds, place_all(record, folds), ranked, marked, hues)
    found: dict[str, Any] = json.loads(figure.to_json())
    return found


def hidden(figure: dict[str, Any]) -> dict[str, int]:
    """Each variant's fold, -1 for none, as the page reads it from the dots."""
    return {
        one: place
        for trace in figure["data"]
        if "meta" in trace and "customdata" in trace
        for one, place in zip(trace["customdata"], trace["meta"], strict=True)
    }


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = campaign_of(tmp_path_factory.mktemp("c") / "c", 300)
    with Store.open(folder / "campaign.db", read_only=True) as store:
        return Record.of(store)


def test_every_variant_is_in_sight_or_counted_in_one_fold(record: Record) -> None:
    folds = fold(record, Marked())
    figure = drawn(record, folds, Marked())
    inside, listed = hidden(figure), figure["layout"]["meta"]["folds"]
    assert set(inside) == set(record.births())
    assert sum(place >= 0 for place in inside.values()) == len(folds.of) > MIN_FOLDED
    for place, (under, count, name) in enumerate(listed):
        assert sum(one == place for one in inside.values()) == count
        assert inside[under] == -1 and name.startswith(f"+{count:,} under ")
    (marks,) = (one for one in figure["data"] if one["name"] == "dead branches, folded")
    assert marks["customdata"] == [f"fold {under}" for under, _, _ in listed]
    assert marks["text"][0] == f"+{listed[0][1]:,}"


def test_who_stands_out_is_young_or_waits_is_never_folded_nor_are_its_ancestors(
    record: Record,
) -> None:
    ids = list(record.births())
    marked = Marked(certified=[ids[40]], graduates=[ids[90]])
    folded = fold(record, marked).of
    for one in (ids[40], ids[90], *record.front, *ids[-YOUNG:]):
        assert not {made.variant_id for made in record.chain(one)} & set(folded)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chosen=st.sets(st.integers(0, 299), max_size=8))
def test_a_fold_hangs_from_the_nearest_living_ancestor_and_lies_above_its_next_generation(
    record: Record, chosen: set[int]
) -> None:
    ids = list(record.births())
    folds = fold(record, Marked(certified=[ids[one] for one in chosen]))
    places = place_all(record, folds)
    for one, under in folds.of.items():
        family = [made.variant_id for made in record.chain(one)]
        living = [each for each in family if each not in folds.of]
        assert living[-1] == under and family[: len(living)] == living
        assert places[under][1] < places[one][1] < places[under][1] + 0.5


def test_a_small_family_is_shown_whole(tmp_path: Path) -> None:
    built = Built(tmp_path / "c")
    for number in range(MIN_FOLDED):
        built.run(built.child(SEED.replace("0.1", f"0.{number + 11}"), built.seed), 3.0, number)
    record = Record.of(built.store)
    built.store.close()
    folds = fold(record, Marked())
    figure = drawn(record, folds, Marked())
    assert not folds.of and figure["layout"]["meta"]["folds"] == []
    assert "dead branches, folded" not in [one["name"] for one in figure["data"]]
