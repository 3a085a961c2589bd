"""The reads answer what a campaign and a person ask, and stay quick when it has grown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from population_records import add_variant, make_variant, members, scored

from population import reading
from population.reading import UnknownVariant
from population.store import Store, StoreError
from population.types import (
    SITE,
    Cost,
    CurvePoint,
    DocumentScore,
    Measurement,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)
from tests.counting import lines_run, sql_steps


def parent(id: str, role: str = "parent") -> Parent:
    return Parent(id, role)


def test_a_tolerance_is_what_the_first_run_of_the_seed_here_set(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    child = add_variant(store, 2, "child", parent(seed))

    def measured(id: str, words: str, rung: str = "proxy", block: int = 0) -> int:
        made = scored(id, block=block, rung=rung, val_bpb=2.0)
        return store.add_measurement(replace(made, facts={"tolerance": words}))

    measured(seed, "of another campaign", block=2 * SITE)
    measured(child, "of a child", block=1)
    first = measured(seed, "of the seed", block=2)
    measured(seed, "of the seed again", block=3)
    measured(seed, "above", rung="larger/x0.5", block=4)
    store.void(first, "the machine was busy")
    assert reading.tolerances(store) == {"proxy": "of the seed", "larger": "above"}


def test_a_variant_answers_to_its_id_a_prefix_and_its_names(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    better = add_variant(store, 2, "better", parent(seed))
    worse = add_variant(store, 3, "worse", parent(seed))
    for id, bpb in ((seed, 2.0), (better, 1.9), (worse, 2.1)):
        store.add_measurement(scored(id, val_bpb=bpb))
    assert reading.resolve(store, "seed") == seed
    assert reading.resolve(store, "best") == better
    store.add_measurement(scored(seed, val_bpb=2.0, block=1))  # measured last, but no child
    assert reading.resolve(store, "last") == worse
    for text in (better, better[:4], better[:12].upper()):
        assert reading.resolve(store, text) == better
    assert reading.source_of(store, better) == make_variant("better").source
    assert reading.variant_by_fingerprint(store, "fingerprint of worse") == worse
    assert reading.variant_by_fingerprint(store, "never seen") is None


def test_best_is_a_front_member_when_there_is_a_front(store: Store) -> None:
    bad, good = (add_variant(store, n, name) for n, name in ((1, "seed"), (2, "good")))
    store.add_measurement(scored(bad, val_bpb=2.0))
    store.add_measurement(scored(good, val_bpb=1.0))
    store.set_front("proxy", members(bad))
    assert reading.resolve(store, "best") == bad
    store.set_front("proxy", [])
    assert reading.resolve(store, "best") == good


def test_an_unknown_variant_is_answered_with_near_ones(store: Store) -> None:
    with pytest.raises(UnknownVariant, match="there is no 'seed' yet"):
        reading.resolve(store, "seed")
    for number, id in enumerate(("abcd11", "abcd22", "ef0000"), start=1):
        one = Variant(id, f"source {id}", id)
        store.add_proposal(Proposal(number, "nudge", (), Outcome.VARIANT, variant=one))
    with pytest.raises(UnknownVariant, match="any of abcd11, abcd22"):
        reading.resolve(store, "abcd")
    with pytest.raises(UnknownVariant, match="at least 4"):
        reading.resolve(store, "abc")
    with pytest.raises(UnknownVariant, match="near: ef0000"):
        reading.resolve(store, "efff")
    with pytest.raises(UnknownVariant, match="names: seed, leader, best, last"):
        reading.resolve(store, "%%%%")
    with pytest.raises(UnknownVariant):
        reading.variant(store, "abcd")


def test_unmeasured_variants_come_in_the_order_they_were_proposed(store: Store) -> None:
    ids = [add_variant(store, n, f"v{n}") for n in range(1, 6)]
    add_variant(store, 6, "v5")  # proposed again: still one variant
    store.add_proposal(Proposal(7, "nudge", (), Outcome.FAILED, "down"))
    store.add_measurement(scored(ids[1], val_bpb=1.0))
    store.add_measurement(scored(ids[2], status=Status.LOST))
    store.add_measurement(scored(ids[3], status=Status.CRASHED))
    assert reading.unmeasured(store, "proxy") == [ids[0], ids[2], ids[4]]
    assert reading.unmeasured(store, "mid") == ids


def test_measurements_are_chosen_by_rung_variant_status_and_place(store: Store) -> None:
    a, b = (add_variant(store, n, f"v{n}") for n in (1, 2))
    made = [
        scored(a, val_bpb=1.0),
        scored(b, val_bpb=2.0),
        scored(a, block=1, status=Status.CRASHED),
        scored(a, rung="mid", val_bpb=3.0),
        scored(a, block=2, status=Status.LOST),
        scored(b, block=1, val_bpb=4.0),
    ]
    ids = [store.add_measurement(one) for one in made]
    store.void(ids[5], "the machine was hot")

    def found(**wanted: object) -> list[int]:
        return [row.id for row in reading.measurements(store, **wanted)]  # type: ignore[arg-type]

    assert found() == ids[:4]
    assert found(rung="proxy") == ids[:3]
    assert found(variant_id=a) == [ids[0], ids[2], ids[3]]
    assert found(as_of=0) == []
    assert found(as_of=ids[1]) == ids[:2]
    assert found(after=ids[1]) == ids[2:4]
    assert found(statuses=[Status.LOST]) == [ids[4]]
    assert found(statuses=[]) == []
    assert reading.measurements(store, variant_id=a, rung="mid")[0].measurement == made[3]
    assert reading.measurement(store, ids[5]).measurement == made[5]
    assert reading.last_measurement_id(store) == ids[5]
    with pytest.raises(StoreError, match="no measurement 99"):
        reading.measurement(store, 99)


def test_the_views_leave_out_voided_and_lost_ones(store: Store) -> None:
    a = add_variant(store, 1, "seed")
    store.add_measurement(scored(a, block=0, val_bpb=1.0, parameters=10))
    store.add_measurement(scored(a, block=0, repeat=1, val_bpb=2.0, parameters=10))
    store.add_measurement(scored(a, block=1, val_bpb=3.0, parameters=10))
    gone = store.add_measurement(scored(a, block=2, val_bpb=9.0, parameters=10))
    store.add_measurement(scored(a, block=3, status=Status.LOST))
    store.add_measurement(scored(a, block=4, status=Status.CRASHED))
    store.void(gone, "drift")
    store.set_front("proxy", members(a))
    assert store.query("SELECT block, repeat, status, val_bpb FROM v_measurements") == [
        (0, 0, "ok", 1.0),
        (0, 1, "ok", 2.0),
        (1, 0, "ok", 3.0),
        (4, 0, "crashed", None),
    ]
    # the two repeats of block 0 count as one
    columns = "blocks, measurements, parameters"
    assert store.query(f"SELECT variant, rung, {columns} FROM v_front") == [
        (a, "proxy", 2, 3, 10.0)
    ]
    assert reading.counts_by_status(store) == {Status.OK: 3, Status.LOST: 1, Status.CRASHED: 1}


def test_lineage_hangs_on_the_first_proposal(store: Store) -> None:
    seed = add_variant(store, 1, "seed", operator="seed")
    a = add_variant(store, 2, "a", parent(seed))
    b = add_variant(store, 3, "b", parent(seed))
    merged = add_variant(
        store, 4, "m", parent(a, "first"), parent(b, "second"), parent(seed, "ancestor"),
        operator="merge",
    )  # fmt: skip
    add_variant(store, 5, "m", parent(b), operator="llm")  # the same source once more
    first = reading.first_proposal(store, merged)
    assert first is not None
    assert (first.number, first.operator) == (4, "merge")
    assert [one.number for one in reading.children_of(store, b)] == [4]
    assert [one.variant_id for one in reading.children_of(store, seed)] == [a, b]
    lines = store.query("SELECT parent, role, operator FROM v_lineage WHERE child = ?", [merged])
    assert lines == [(a, "first", "merge"), (b, "second", "merge"), (seed, "ancestor", "merge")]
    assert reading.first_proposal(store, "unknown") is None


def test_operators_are_credited_with_what_came_of_their_proposals(store: Store) -> None:
    seed = add_variant(store, 1, "seed", operator="seed")
    cost = Cost(2.0, 100, 50, 0.5)
    for number, outcome in ((2, Outcome.VARIANT), (3, Outcome.FAILED), (4, Outcome.DUPLICATE)):
        variant = make_variant("child") if outcome is Outcome.VARIANT else None
        who = (parent(seed),)
        store.add_proposal(Proposal(number, "llm", who, outcome, variant=variant, cost=cost))
    add_variant(store, 5, "child", parent(seed), operator="nudge")  # came second: earns nothing
    child = make_variant("child").id
    store.add_measurement(scored(child, val_bpb=1.0))
    store.add_measurement(scored(child, block=1, val_bpb=1.0))
    columns = "operator, proposals, variants, duplicates, invalid, failed, ok_measurements"
    assert store.query(f"SELECT {columns}, tokens_in, dollars, seconds FROM v_operators") == [
        ("llm", 3, 1, 1, 0, 1, 2, 300, 1.5, 6.0),
        ("nudge", 1, 1, 0, 0, 0, 0, 0, 0.0, 0.0),
        ("seed", 1, 1, 0, 0, 0, 0, 0, 0.0, 0.0),
    ]
    spent = reading.spent(store)
    assert (spent.proposals, spent.variants, spent.measurements) == (5, 2, 2)
    assert (spent.tokens_in, spent.tokens_out, spent.dollars) == (300, 150, 1.5)


def test_events_are_the_last_ones_oldest_first(store: Store) -> None:
    for number in range(10):
        store.add_event("kind", str(number))
    assert [event.text for event in reading.events(store, limit=3)] == ["7", "8", "9"]
    assert [event.text for event in reading.events(store, after=8)] == ["8", "9"]


def grown(store: Store, size: int) -> list[str]:
    """A store with this many variants of ordinary size, one measurement each."""
    body = "x = 1  # a line of an ordinary train.py\n" * 300
    curve = tuple(CurvePoint(k / 32, 2.0, k) for k in range(32))
    documents = tuple(DocumentScore(f"d{k}", 1.0, 2) for k in range(20))
    names = ("val_bpb", "parameters", "added_nodes", "peak_memory_mb", "epochs")
    ids: list[str] = []
    with store.transaction():
        for number in range(1, size + 1):
            source = f"{body}{number}"
            one = Variant(variant_id(source), source, f"fingerprint {number}")
            parents = (parent(ids[number // 2 - 1]),) if ids else ()
            ids.append(one.id)
            store.add_proposal(Proposal(number, "nudge", parents, Outcome.VARIANT, variant=one))
            request = RunRequest(one.id, "proxy", 0, 0, Purpose.SCREEN)
            metrics = dict.fromkeys(names, 1.0 + number)
            made = Measurement(
                request, Status.OK, "", metrics, documents, curve, log_tail="log " * 500
            )
            store.add_measurement(made)
    return ids


KEYED = {"measurements of one", "new measurements", "one measurement", "first proposal", "children"}
KEYED |= {"resolve", "fingerprint", "next number", "events"}
FEW, MANY = 100, 600


def costs(path: Path, size: int) -> dict[str, int]:
    """Steps of SQLite and lines of Python that each read takes of a store of this size."""
    with Store.create(path / f"{size}.db") as store:
        ids = grown(store, size)
        store.set_front("proxy", members(*ids[:30]))
        one = ids[40]
        reads: dict[str, Callable[[], object]] = {
            "measurements of one": lambda: reading.measurements(store, variant_id=one),
            "new measurements": lambda: reading.measurements(store, rung="proxy", after=size - 10),
            "one measurement": lambda: reading.measurement(store, 50),
            "first proposal": lambda: reading.first_proposal(store, one),
            "children": lambda: reading.children_of(store, one),
            "resolve": lambda: reading.resolve(store, one[:12]),
            "fingerprint": lambda: reading.variant_by_fingerprint(store, "fingerprint 7"),
            "next number": lambda: reading.next_proposal_number(store),
            "events": lambda: reading.events(store),
            "all measurements": lambda: reading.measurements(store, rung="proxy"),
            "all proposals": lambda: reading.proposals(store),
            "unmeasured": lambda: reading.unmeasured(store, "mid"),
            "best": lambda: reading.resolve(store, "best"),
            "spent": lambda: reading.spent(store),
            "counts": lambda: reading.counts_by_status(store, "proxy"),
        }
        return {
            name: sql_steps(store._connection, read) + lines_run(read)
            for name, read in reads.items()
        }


def test_a_read_by_key_costs_the_same_in_a_larger_store_and_a_whole_one_grows_with_it(
    tmp_path: Path,
) -> None:
    few, many = costs(tmp_path, FEW), costs(tmp_path, MANY)
    grew = {name: round(many[name] / few[name], 2) for name in few}
    assert {name: times for name, times in grew.items() if name in KEYED and times > 1.1} == {}
    assert {name: times for name, times in grew.items() if times > 1.1 * MANY / FEW} == {}
