"""A damaged store says so, and what can be read of it is copied into one that works."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from population_records import scored

from population import reading
from population.reading.salvage import salvage
from population.store import Store, StoreError
from population.types import Outcome, Parent, Proposal, Variant, variant_id

VARIANTS = 300


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "campaign.db"
    with Store.create(path) as store, store.transaction():
        seed = ""
        for number in range(1, VARIANTS + 1):
            source = f"LR = {number}\n" + "# what a train.py looks like\n" * 100
            one = Variant(variant_id(source), source, f"fingerprint {number}")
            seed = seed or one.id
            parents = (Parent(seed, "parent"),) if number > 1 else ()
            store.add_proposal(Proposal(number, "nudge", parents, Outcome.VARIANT, variant=one))
            store.add_measurement(scored(one.id, val_bpb=2.0 + number / 1e4, parameters=1.0))
        store.set_setting("config", {"name": "whole"})
    return path


def rows_of(path: Path) -> dict[int, tuple[object, ...]]:
    with Store.open(path) as store:
        return {
            row.id: (row.measurement.request, dict(row.measurement.metrics))
            for row in reading.measurements(store)
        }


def truncated(raw: bytearray) -> bytearray:
    return raw[: len(raw) * 2 // 3]


def scribbled(raw: bytearray) -> bytearray:
    rng = random.Random(3)
    pages = len(raw) // 4096
    for page in rng.sample(range(pages // 4, pages), 12):
        raw[page * 4096 : page * 4096 + 2048] = rng.randbytes(2048)
    return raw


def zeroed(raw: bytearray) -> bytearray:
    middle = len(raw) // 2 // 4096 * 4096
    raw[middle : middle + 40 * 4096] = bytes(40 * 4096)
    return raw


@pytest.mark.parametrize("damage", [truncated, scribbled, zeroed])
def test_what_can_be_read_is_copied_as_it_was(
    whole: Path, tmp_path: Path, damage: Callable[[bytearray], bytearray]
) -> None:
    damaged, copy = tmp_path / "campaign.db", tmp_path / "copy.db"
    damaged.write_bytes(damage(bytearray(whole.read_bytes())))
    before = damaged.read_bytes()
    found = {one.table: one for one in salvage(damaged, copy, tmp_path / "orphans.jsonl")}
    assert damaged.read_bytes() == before
    original, saved = rows_of(whole), rows_of(copy)
    assert saved.items() <= original.items() or all(
        saved[id][0] == original[id][0] and saved[id][1].items() <= original[id][1].items()  # type: ignore[attr-defined]
        for id in saved
    )
    assert len(saved) == found["measurements"].rows > VARIANTS / 5
    assert found["variants"].rows > VARIANTS / 5
    lost = [one for one in found.values() if one.orphans or one.unreadable]
    assert lost
    with Store.open(copy) as store:
        assert not store.query("PRAGMA foreign_key_check")
        assert store.query("PRAGMA integrity_check") == [("ok",)]
    for line in (tmp_path / "orphans.jsonl").read_text().splitlines():
        assert json.loads(line)["table"] in found


def cut_anywhere(raw: bytearray, rng: random.Random) -> bytearray:
    return raw[: rng.randrange(100, len(raw))]


def scribbled_anywhere(raw: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randrange(1, 8)):
        start, length = rng.randrange(100, len(raw)), rng.randrange(1, 2048)
        raw[start : start + length] = rng.randbytes(min(length, len(raw) - start))
    return raw


def bits_flipped(raw: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randrange(1, 200)):
        raw[rng.randrange(100, len(raw))] ^= 1 << rng.randrange(8)
    return raw


def heads_of_pages_changed(raw: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randrange(1, 20)):
        raw[rng.randrange(1, len(raw) // 4096) * 4096 + rng.randrange(40)] = rng.randrange(256)
    return raw


@pytest.mark.parametrize(
    "damage", [cut_anywhere, scribbled_anywhere, bits_flipped, heads_of_pages_changed]
)
def test_no_damage_ends_it_but_in_words(
    whole: Path, tmp_path: Path, damage: Callable[[bytearray, random.Random], bytearray]
) -> None:
    raw, copied = whole.read_bytes(), 0
    for number in range(25):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = folder / "campaign.db"
        damaged.write_bytes(damage(bytearray(raw), random.Random(number)))
        try:
            salvage(damaged, folder / "copy.db", folder / "orphans.jsonl")
            copied += 1
        except StoreError as error:
            assert "nothing in it can be read" in str(error)
    assert copied >= 5


def test_a_store_that_is_whole_is_copied_whole(whole: Path, tmp_path: Path) -> None:
    found = salvage(whole, tmp_path / "copy.db", tmp_path / "orphans.jsonl")
    assert not any(one.orphans or one.unreadable for one in found)
    for table in ("variants", "proposals", "parents", "measurements", "scores", "settings"):
        sql = f"SELECT * FROM {table} ORDER BY 1, 2"
        with sqlite3.connect(whole) as a, sqlite3.connect(tmp_path / "copy.db") as b:
            assert a.execute(sql).fetchall() == b.execute(sql).fetchall()
        a.close(), b.close()
    assert (tmp_path / "orphans.jsonl").read_text() == ""


def test_a_damaged_store_names_the_way_out(whole: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "campaign.db"
    damaged.write_bytes(truncated(bytearray(whole.read_bytes())))
    with pytest.raises(StoreError, match=r"malformed; `evo salvage --dir .* -o NEW`"):
        rows_of(damaged)
    damaged.write_bytes(b"what once was a database" * 1000)
    with pytest.raises(StoreError, match=r"not a database; `evo salvage"):
        Store.open(damaged)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_where_nothing_can_be_read_it_is_said(tmp_path: Path, content: bytes) -> None:
    damaged = tmp_path / "campaign.db"
    damaged.write_bytes(content)
    with pytest.raises(StoreError, match="nothing in it can be read"):
        salvage(damaged, tmp_path / "copy.db", tmp_path / "orphans.jsonl")
