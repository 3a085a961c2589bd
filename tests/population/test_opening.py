"""A file that is no store is refused clearly and left alone; old ones are brought up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from population_records import add_variant, scored

from population import reading
from population.migrations import DESCRIPTIONS, MIGRATIONS
from population.store import Store, StoreError


def test_a_missing_file_and_an_existing_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no campaign store at"):
        Store.open(tmp_path / "none.db")
    with pytest.raises(StoreError, match="unable to open"):
        Store.create(tmp_path / "no folder" / "campaign.db")
    path = tmp_path / "odd name #1?%20.db"
    Store.create(path).close()
    with pytest.raises(StoreError, match="exists already"):
        Store.create(path)
    Store.open(path).close()
    assert path.is_file()


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be one" * 50])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "campaign.db"
    path.write_bytes(content)
    for read_only in (True, False):
        with pytest.raises(StoreError, match="not a "):
            Store.open(path, read_only)
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a campaign store"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_truncated_store_is_refused_or_fails_in_words(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    with Store.create(path) as store:
        for number in range(1, 40):
            add_variant(store, number, f"{number}" * 500)
    path.write_bytes(path.read_bytes()[: 3 * 4096])
    with pytest.raises(StoreError, match=r"campaign\.db"), Store.open(path) as store:
        reading.proposals(store)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    Store.create(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    raw.close()
    with pytest.raises(StoreError, match="newer evotrain"):
        Store.open(path)


def test_an_older_schema_is_brought_up_to_date_by_a_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "campaign.db"
    Store.create(path).close()
    newer = (*MIGRATIONS, ("CREATE TABLE later (a)", "INSERT INTO later VALUES (7)"))
    for module in ("migrations", "connection"):
        monkeypatch.setattr(f"population.{module}.MIGRATIONS", newer)
    with Store.open(path) as store:
        assert store.query("SELECT a FROM later") == [(7,)]
    Store.open(path, read_only=True).close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "campaign.db"
    Store.create(path).close()
    broken = (*MIGRATIONS, ("CREATE TABLE later (a)", "INSERT INTO nowhere VALUES (7)"))
    with monkeypatch.context() as patch:
        for module in ("migrations", "connection"):
            patch.setattr(f"population.{module}.MIGRATIONS", broken)
        with pytest.raises(StoreError, match="nowhere"):
            Store.open(path)
    with Store.open(path) as store:
        assert store.query("SELECT count(*) FROM sqlite_master WHERE name = 'later'") == [(0,)]


def test_a_reader_cannot_write(store: Store) -> None:
    with (
        Store.open(store.path, read_only=True) as reader,
        pytest.raises(StoreError, match="readonly"),
    ):
        reader.add_event("kind", "text")


def test_every_table_and_view_is_documented_in_code_and_file(store: Store) -> None:
    sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
    names = {name for (name,) in store.query(sql) if not name.startswith("sqlite_")}
    assert names == set(DESCRIPTIONS)
    assert dict(store.query("SELECT name, description FROM about")) == DESCRIPTIONS


def test_any_sqlite_tool_reads_the_views(store: Store) -> None:
    seed = add_variant(store, 1, "seed")
    store.add_measurement(scored(seed, val_bpb=1.5, parameters=10.0))
    raw = sqlite3.connect(f"{store.path.as_uri()}?mode=ro", uri=True)
    for view in (name for name in DESCRIPTIONS if name.startswith("v_")):
        raw.execute(f"SELECT * FROM {view}").fetchall()
    raw.close()
