"""What is written comes back, whole or not at all, also with other writers about."""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from population_records import (
    JSON,
    LLM_CALLS,
    MEASUREMENTS,
    PROPOSALS,
    TEXT,
    add_variant,
    make_variant,
    members,
    scored,
)

from population import reading
from population.store import Store, StoreError
from population.types import (
    Cost,
    CurvePoint,
    LlmCall,
    Measurement,
    Outcome,
    Proposal,
    Purpose,
    RunRequest,
    Status,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("shared") / "campaign.db")
    add_variant(store, 1, "seed")
    return store


class Undone(Exception):
    """Ends a transaction so that the next example finds the store as it was."""


def undone(store: Store, check: object) -> None:
    assert callable(check)
    with pytest.raises(Undone), store.transaction():
        check()
        raise Undone


@given(MEASUREMENTS)
@settings(deadline=None)
def test_a_measurement_comes_back_as_it_was(shared: Store, measurement: Measurement) -> None:
    def check() -> None:
        id = shared.add_measurement(measurement)
        assert reading.measurement(shared, id) == reading.MeasurementRow(id, measurement)
        rest = {"documents": (), "curve": (), "facts": {}, "log_tail": ""}
        light = dataclasses.replace(measurement, **rest)
        every = reading.measurements(shared, statuses=list(Status))
        assert every == [reading.MeasurementRow(id, light)]
        listed = reading.measurements(shared, rung=measurement.request.rung)
        assert (listed == []) == (measurement.status is Status.LOST)

    undone(shared, check)


@given(PROPOSALS)
@settings(deadline=None)
def test_a_proposal_comes_back_as_it_was(shared: Store, proposal: Proposal) -> None:
    def check() -> None:
        shared.add_proposal(proposal)
        found = reading.proposal(shared, proposal.number)
        assert dataclasses.replace(found, idea_id=None) == proposal
        (listed,) = reading.proposals(shared, after=1)
        assert (listed.parents, listed.cost, listed.idea) == (
            proposal.parents,
            proposal.cost,
            proposal.idea,
        )
        assert reading.next_proposal_number(shared) == proposal.number + 1

    undone(shared, check)


@given(LLM_CALLS, TEXT, JSON)
@settings(deadline=None)
def test_calls_events_settings_decisions_and_requests_come_back(
    shared: Store, call: LlmCall, text: str, value: object
) -> None:
    def check() -> None:
        id = shared.add_llm_call(call)
        names = [field.name for field in dataclasses.fields(LlmCall)]
        (row,) = shared.query(f"SELECT {', '.join(names)} FROM llm_calls WHERE id = ?", [id])
        kept = dict(zip(names, row, strict=True))
        kept |= {"parts": json.loads(kept["parts"]), "estimated": bool(kept["estimated"])}
        assert LlmCall(**kept) == call
        shared.add_event(text, text)
        assert [(e.kind, e.text) for e in reading.events(shared)] == [(text, text)]
        assert shared.setting(text, "none") == "none"
        shared.set_setting(text, 0)
        shared.set_setting(text, value)
        assert shared.setting(text) == value
        shared.add_decision(text, None, {text: value})
        shared.add_request(text, value, author=text)
        (asked,) = reading.pending(shared)
        assert (asked.kind, asked.detail, asked.author) == (text, value, text)

    undone(shared, check)


@pytest.mark.parametrize("bad", ["\ud800", "log \udcff tail"])
def test_lone_surrogates_are_refused_in_words(store: Store, bad: str) -> None:
    seed = add_variant(store, 1, "seed")
    good = scored(seed)
    with pytest.raises(StoreError, match="not valid Unicode"):
        store.add_measurement(dataclasses.replace(good, log_tail=bad))
    with pytest.raises(StoreError, match="not valid Unicode"):
        store.add_measurement(dataclasses.replace(good, facts={"a": bad}))
    with pytest.raises(StoreError, match="not valid Unicode"):
        store.add_event("kind", bad)
    assert reading.measurements(store) == []
    assert reading.events(store) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_finite_numbers_are_recorded(store: Store, value: float) -> None:
    seed = add_variant(store, 1, "seed")
    with pytest.raises(StoreError, match="only finite numbers"):
        store.add_measurement(scored(seed, val_bpb=value))
    with pytest.raises(StoreError, match="only finite numbers"):
        store.add_measurement(dataclasses.replace(scored(seed), wall_seconds=value))
    with pytest.raises(StoreError, match="JSON"):
        store.set_setting("key", value)
    assert reading.counts_by_status(store) == {}


def test_a_loss_that_blew_up_stays_in_the_curve_as_nan(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    curve = (CurvePoint(0.1, 2.0, 5), CurvePoint(0.2, math.inf, 6))
    id = store.add_measurement(dataclasses.replace(scored(seed), curve=curve))
    first, last = reading.measurement(store, id).measurement.curve
    assert first == curve[0]
    assert math.isnan(last.loss)


def test_a_number_too_large_for_a_row_is_refused_in_words(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    with pytest.raises(StoreError, match="too large"):
        store.add_measurement(dataclasses.replace(scored(seed), self_reported_steps=2**63))


def test_a_run_is_recorded_once_but_may_be_lost_many_times(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    for _ in range(2):
        store.add_measurement(scored(seed, status=Status.LOST))
    id = store.add_measurement(scored(seed, val_bpb=1.0))
    store.add_measurement(scored(seed, status=Status.LOST))
    with pytest.raises(StoreError, match="UNIQUE"):
        store.add_measurement(scored(seed, status=Status.CRASHED))
    store.add_measurement(scored(seed, repeat=1, status=Status.CRASHED))
    assert reading.counts_by_status(store, "proxy") == {
        Status.LOST: 3,
        Status.OK: 1,
        Status.CRASHED: 1,
    }
    assert [row.id for row in reading.measurements(store, statuses=[Status.OK])] == [id]


def test_measurements_are_never_changed(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    store.add_measurement(scored(seed, val_bpb=1.0))
    for sql in (
        "UPDATE measurements SET status = 'ok'",
        "DELETE FROM measurements",
        "UPDATE scores SET value = 0",
        "DELETE FROM scores",
    ):
        with pytest.raises(StoreError, match="never changed"), store.transaction():
            store.query(sql)
    assert store.query("SELECT val_bpb FROM v_measurements") == [(1.0,)]


def test_recording_a_measurement_ends_its_run(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    request, other = (RunRequest(seed, "proxy", block, 0, Purpose.SCREEN) for block in (0, 1))
    store.open_run(request, "slot 0")
    store.open_run(other, "slot 1")
    store.note_run_process(request, 4242, 12.5)
    found = reading.open_runs(store)
    assert [(run.request, run.slot, run.pid, run.pid_started_at) for run in found] == [
        (request, "slot 0", 4242, 12.5),
        (other, "slot 1", None, None),
    ]
    store.add_measurement(Measurement(request, Status.CRASHED, "it broke"))
    assert [run.request for run in reading.open_runs(store)] == [other]
    store.close_run(other)
    assert reading.open_runs(store) == []


def test_a_group_of_writes_is_durable_together_or_not_at_all(store: Store, tmp_path: Path) -> None:
    seed = add_variant(store, 1, "seed")
    with pytest.raises(RuntimeError), store.transaction():
        store.add_event("kind", "first")
        store.add_measurement(scored(seed))
        raise RuntimeError
    with store.transaction():
        store.add_event("kind", "kept")
        with pytest.raises(StoreError):  # an inner failure takes back the inner write only
            store.add_measurement(scored(seed, val_bpb=math.nan))
    with Store.open(store.path, read_only=True) as other:
        assert [event.text for event in reading.events(other)] == ["kept"]
        assert reading.counts_by_status(other) == {}


def test_a_variant_is_kept_once_and_a_variant_outcome_needs_one(store: Store) -> None:
    add_variant(store, 1, "seed")
    add_variant(store, 2, "seed")
    assert store.query("SELECT count(*) FROM variants") == [(1,)]
    with pytest.raises(StoreError, match="no variant"):
        store.add_proposal(Proposal(3, "nudge", (), Outcome.VARIANT))
    with pytest.raises(StoreError, match="UNIQUE"):
        store.add_proposal(Proposal(2, "nudge", (), Outcome.FAILED, "down"))
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.add_measurement(scored("unheard of"))


def test_requests_of_another_process_are_taken_once_in_order(store: Store) -> None:
    script = (
        "import sys; from population.store import Store\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    for n in range(3): print(store.add_request('stop', {'n': n}, author='me'))\n"
    )
    command = [sys.executable, "-c", script, str(store.path)]
    asked = subprocess.run(command, check=True, capture_output=True, text=True)
    taken = reading.pending(store)
    assert [str(one.id) for one in taken] == asked.stdout.split()
    assert [one.detail for one in taken] == [{"n": 0}, {"n": 1}, {"n": 2}]
    for one in taken[:2]:
        store.finish_request(one.id)
    assert [one.detail for one in reading.pending(store)] == [{"n": 2}]


def test_a_writer_waits_for_another_one(store: Store) -> None:
    other = sqlite3.connect(store.path, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.rollback)
    release.start()
    store.add_event("kind", "waited")
    release.join()
    other.close()
    assert [event.text for event in reading.events(store)] == ["waited"]


def test_a_read_that_turns_into_a_write_cannot_be_overtaken(store: Store) -> None:
    def write() -> None:
        with Store.open(store.path) as other:
            other.add_event("kind", "second")

    overtaking = threading.Thread(target=write)
    with store.transaction():
        assert reading.events(store) == []
        overtaking.start()
        overtaking.join(0.3)
        store.add_event("kind", "first")
    overtaking.join()
    assert [event.text for event in reading.events(store)] == ["first", "second"]


def test_threads_take_turns(store: Store) -> None:
    def write(name: str) -> None:
        for number in range(20):
            with store.transaction():
                store.add_event(name, str(number))
                store.add_event(name, str(number))

    threads = [threading.Thread(target=write, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = reading.events(store, limit=1000)
    assert len(found) == 160
    assert all(
        a.kind == b.kind and a.text == b.text for a, b in zip(found[::2], found[1::2], strict=True)
    )


def test_the_front_is_replaced_whole(store: Store) -> None:
    ids = [add_variant(store, n, f"v{n}") for n in (1, 2, 3)]
    store.set_front("proxy", members(ids[0], ids[1]))
    store.set_front("mid", members(ids[2]))
    store.set_front("proxy", members(ids[2]))
    assert reading.front(store, "proxy") == reading.front(store, "mid") == {ids[2]: "candidate"}


def test_of_a_front_only_what_moved_is_written(store: Store) -> None:
    ids = [add_variant(store, n, f"v{n}") for n in (1, 2, 3)]
    store.set_front("proxy", members(ids[0], ids[1]))
    before = store._connection.total_changes
    store.set_front("proxy", members(ids[0], ids[1]))
    assert store._connection.total_changes == before
    store.set_front("proxy", members(ids[0], ids[2]))
    assert store._connection.total_changes == before + 2, "one goes, one comes"
    assert list(reading.front(store, "proxy")) == [ids[0], ids[2]]


def test_dollars_of_unknown_price_stay_unknown(store: Store) -> None:
    variant = make_variant("seed")
    cost = Cost(1.0, 10, 20, None)
    store.add_proposal(Proposal(1, "llm", (), Outcome.VARIANT, variant=variant, cost=cost))
    for number, dollars in ((1, 5.0), (7, 0.25), (0, None)):
        store.add_llm_call(LlmCall("e", "m", "p", "r", 3, 4, dollars, 1.0, "ok", number))
    spent = reading.spent(store)
    # the call of proposal 1 is in that proposal's tokens already; its dollars are what is known of them
    assert (spent.tokens_in, spent.tokens_out) == (10 + 6, 20 + 8)
    assert (spent.dollars, spent.price_unknown) == (5.25, 2)


def test_a_call_in_flight_counts_at_its_ceiling_until_it_is_finished(store: Store) -> None:
    asked = LlmCall("e", "m", "p", "", 100, 1000, 2.0, 0.0, "asked", 2)
    first = store.add_llm_call(asked)
    assert reading.spent(store).tokens_out == 1000
    store.finish_llm_call(
        first, dataclasses.replace(asked, reply="r", tokens_out=30, dollars=0.5, outcome="ok")
    )
    spent = reading.spent(store)
    assert (spent.tokens_in, spent.tokens_out, spent.dollars) == (100, 30, 0.5)


def test_calls_that_a_kill_cut_off_count_beside_those_of_the_next_process_with_their_number(
    store: Store,
) -> None:
    call = LlmCall("e", "m", "p", "", 100, 1000, 2.0, 0.0, "asked", 2)
    store.add_llm_call(call)
    store.end_llm_calls("cut off")
    again = store.add_llm_call(call)
    store.finish_llm_call(
        again, dataclasses.replace(call, tokens_out=30, dollars=0.5, outcome="ok")
    )
    cost = Cost(1.0, 100, 30, 0.5)
    store.add_proposal(Proposal(2, "llm", (), Outcome.FAILED, cost=cost))
    spent = reading.spent(store)
    assert (spent.tokens_in, spent.tokens_out, spent.dollars) == (200, 1030, 2.5)
    outcomes = [row[0] for row in store.query("SELECT outcome FROM llm_calls ORDER BY id")]
    assert outcomes == ["cut off", "ok"]
