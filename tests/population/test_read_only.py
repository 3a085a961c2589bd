"""A store is read where nothing may be written, by anybody who may read it, also while it is written to."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from population_records import add_variant

from population import connection, reading
from population.migrations import MIGRATIONS
from population.store import Store, StoreError

READ = (
    "import sys; from pathlib import Path; from population.store import Store; "
    "from population import reading\n"
    "with Store.open(Path(sys.argv[1]), read_only=True) as store:\n"
    "    print(len(reading.proposals(store)), Path(store.path).name)"
)
MOUNT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
ROOT = Path(__file__).parents[2]


def read_on_a_read_only_mount(path: Path) -> str:
    command = ["unshare", "-rm", "sh", "-c", MOUNT, str(path.parent)]
    probe = subprocess.run([*command, "true"], capture_output=True, timeout=60)
    if probe.returncode:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        [*command, sys.executable, "-c", READ, str(path)],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=ROOT,
    )
    return done.stdout or done.stderr


def test_a_closed_store_is_read_from_a_read_only_mount(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    with Store.create(path) as store:
        add_variant(store, 1, "seed")
    assert read_on_a_read_only_mount(path) == "1 campaign.db\n"
    assert [one.name for one in tmp_path.iterdir()] == ["campaign.db"]


@pytest.mark.parametrize("left", ["campaign.db-wal", "campaign.db-shm"])
def test_a_store_in_use_is_read_from_a_read_only_mount_with_what_its_wal_holds(
    tmp_path: Path, left: str
) -> None:
    path = tmp_path / "live" / "campaign.db"
    path.parent.mkdir()
    with Store.create(path) as store:
        add_variant(store, 1, "seed")
        add_variant(store, 2, "child")
        copied = tmp_path / "seen"
        copied.mkdir()
        for name in {"campaign.db", "campaign.db-wal", left}:  # as another host sees it: no memory
            (copied / name).write_bytes((path.parent / name).read_bytes())
        assert read_on_a_read_only_mount(copied / "campaign.db") == "2 campaign.db\n"


def test_a_copy_of_a_store_that_is_written_to_is_the_store_at_one_moment(tmp_path: Path) -> None:
    path, done = tmp_path / "campaign.db", threading.Event()
    with Store.create(path) as store:
        add_variant(store, 1, "seed")

        def write() -> None:
            for number in range(2, 400):
                add_variant(store, number, f"{number}" * 300)
                if number % 7 == 0:
                    store.query("PRAGMA wal_checkpoint(TRUNCATE)")
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = []
        while not done.is_set():
            db, folder = connection._connect_to_copy(path)
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            count = "SELECT count(*), max(number) FROM proposals"
            seen.append(db.execute(count).fetchone())
            db.close()
            folder.cleanup()
        writer.join()
    assert all(rows == newest for rows, newest in seen)
    assert seen == sorted(seen)


def test_a_new_wal_that_begins_while_it_is_copied_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, heads = tmp_path / "campaign.db", iter([b"", b"new", b"new", b"new"])
    Store.create(path).close()
    (tmp_path / "campaign.db-wal").touch()
    monkeypatch.setattr(connection, "_head", lambda wal: next(heads))
    connection._copy_consistently(path, tmp_path / "copy")
    assert next(heads, None) is None
    monkeypatch.setattr(connection, "_head", lambda wal: os.urandom(4))
    with pytest.raises(StoreError, match="faster than it can be copied"):
        connection._copy_consistently(path, tmp_path / "copy")


def test_an_older_store_is_read_as_a_newer_one_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "campaign.db"
    with Store.create(path) as store:
        add_variant(store, 1, "seed")
    before = path.read_bytes()
    newer = (*MIGRATIONS, ("CREATE TABLE later (a)", "INSERT INTO later VALUES (7)"))
    for module in ("migrations", "connection"):
        monkeypatch.setattr(f"population.{module}.MIGRATIONS", newer)
    with Store.open(path, read_only=True) as store:
        assert store.query("SELECT a FROM later") == [(7,)]
        assert len(reading.proposals(store)) == 1
        copy = store._copy
        assert copy is not None and Path(copy.name).exists()
        with pytest.raises(StoreError, match="readonly"):
            store.add_event("kind", "text")
    assert not Path(copy.name).exists()
    assert path.read_bytes() == before


def test_a_store_of_somebody_else_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "campaign.db"
    Store.create(path).close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(StoreError, match="may not be read by this user"):
        Store.open(path, read_only=True)
