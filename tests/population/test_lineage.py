"""Ancestors, common ancestors and the tree, against plain walks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from population_records import add_variant

from population.lineage import Branch, Lineage, tree
from population.store import Store
from population.types import Parent

# for each variant after the seed, one or two earlier ones by index (modulo what there is)
FAMILIES = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=2), max_size=14)


def family(parents: list[list[int]]) -> tuple[Lineage, dict[str, set[str]]]:
    lineage, known = Lineage(), {"v0": set[str]()}
    lineage.add("v0", ())
    for number, chosen in enumerate(parents, start=1):
        ids = [f"v{index % number}" for index in chosen]
        lineage.add(f"v{number}", [Parent(id, "parent") for id in ids])
        known[f"v{number}"] = set(ids)
    return lineage, known


def ancestors(known: dict[str, set[str]], one: str) -> set[str]:
    found: set[str] = set()
    waiting = [one]
    while waiting:
        new = known[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return found


@given(FAMILIES)
def test_descent_agrees_with_a_walk(parents: list[list[int]]) -> None:
    lineage, known = family(parents)
    for child in known:
        above = ancestors(known, child)
        assert {one for one in known if lineage.descends(child, one)} == above
        assert set(lineage.parents_of(child)) == known[child]
        assert set(lineage.children_of(child)) == {one for one in known if child in known[one]}


@given(FAMILIES)
def test_the_lowest_common_ancestor_has_no_common_one_below_it(parents: list[list[int]]) -> None:
    lineage, known = family(parents)
    for a in known:
        for b in known:
            lowest = lineage.lowest_common_ancestor(a, b)
            assert lowest == lineage.lowest_common_ancestor(b, a)
            common = (ancestors(known, a) | {a}) & (ancestors(known, b) | {b})
            assert lowest in common
            assert not [one for one in common if lineage.descends(one, str(lowest))]


@given(FAMILIES)
def test_three_meet_where_the_families_of_all_meet(parents: list[list[int]]) -> None:
    lineage, known = family(parents)
    for three in itertools.islice(itertools.combinations(known, 3), 60):
        lowest = lineage.lowest_common_ancestor(*three)
        common = set.intersection(*({one} | ancestors(known, one) for one in three))
        assert lowest in common
        assert not [one for one in common if lineage.descends(one, str(lowest))]


@given(FAMILIES)
def test_the_way_from_an_ancestor_goes_from_parent_to_child(parents: list[list[int]]) -> None:
    lineage, known = family(parents)
    for child in known:
        for above in ancestors(known, child):
            way = lineage.way(above, child)
            assert (way[0], way[-1]) == (above, child)
            assert all(old in known[new] for old, new in itertools.pairwise(way))
        assert lineage.way(child, child) == (child,)


def test_there_is_no_way_between_strangers() -> None:
    lineage, _ = family([[0], [0]])
    with pytest.raises(ValueError, match="does not descend"):
        lineage.way("v1", "v2")


def test_a_lineage_is_named_after_the_child_of_the_seed() -> None:
    lineage, _ = family([[0], [0], [1], [2, 3], [3, 4]])
    roots = [lineage.lineage_root(f"v{k}") for k in range(6)]
    assert roots == ["v0", "v1", "v2", "v1", "v2", "v1"]


def test_strangers_have_no_common_ancestor_and_unknown_parents_are_an_error() -> None:
    lineage, _ = family([])
    lineage.add("stranger", ())
    assert lineage.lowest_common_ancestor("v0", "stranger") is None
    assert "stranger" in lineage
    with pytest.raises(KeyError):
        lineage.add("child", [Parent("nobody", "parent")])
    assert "child" not in lineage


def test_the_family_and_the_tree_come_from_first_proposals(store: Store) -> None:
    seed = add_variant(store, 1, "seed", operator="seed")
    a = add_variant(store, 2, "a", Parent(seed, "parent"))
    b = add_variant(store, 3, "b", Parent(seed, "parent"))
    merged = add_variant(
        store, 4, "m", Parent(b, "first"), Parent(a, "second"), Parent(seed, "ancestor"),
        operator="merge",
    )  # fmt: skip
    add_variant(store, 5, "a", Parent(merged, "parent"))  # a known variant keeps its parents
    lineage = Lineage.of(store)
    assert lineage.parents_of(merged) == (b, a)
    assert lineage.parents_of(a) == (seed,)
    assert lineage.children_of(seed) == (a, b)
    assert lineage.lowest_common_ancestor(a, b) == seed
    assert tree(store) == [
        Branch(
            seed,
            "seed",
            "idea 1",
            (
                Branch(a, "nudge", "idea 2"),
                Branch(b, "nudge", "idea 3", (Branch(merged, "merge", "idea 4"),)),
            ),
        )
    ]


def test_a_child_whose_proposal_was_begun_before_its_parents_was_belongs_to_the_family(
    store: Store,
) -> None:
    seed = add_variant(store, 1, "seed", operator="seed")
    parent = add_variant(store, 3, "quick", Parent(seed, "parent"))
    child = add_variant(store, 2, "slow", Parent(parent, "parent"))
    lineage = Lineage.of(store)
    assert lineage.parents_of(child) == (parent,)
    assert lineage.after(0) == (seed, parent, child)
    assert tree(store) == [
        Branch(
            seed, "seed", "idea 1",
            (Branch(parent, "nudge", "idea 3", (Branch(child, "nudge", "idea 2"),)),),
        )
    ]  # fmt: skip


def test_an_empty_store_has_no_tree(store: Store) -> None:
    assert tree(store) == []
