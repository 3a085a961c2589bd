"""Campaigns merge as sets of rows: in any order, any number of times, and no claim is taken over."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo.evaluation.static_check import MODULES
from evo.folder import CampaignError
from evo.runtime.budget import BudgetSettings
from evo.search.certification import CertificationSettings
from evo.search.scheduler import PolicySettings
from evo.sharing.merging import SharingError, _history, completed, merge, read_campaign
from population import reading
from population.sharing.merging import lay_out
from population.sharing.shared_rows import SharedRows, Vouched, shared_rows
from population.store import Store
from population.types import FRESH, SITE, Measurement, Purpose, Status, variant_id
from tests.campaign.fakes import make_campaign, make_store
from tests.cli.test_folders import contents
from tests.sharing.groups import (
    CONFIG,
    GROUPS,
    RUNG,
    SEED,
    Child,
    Group,
    column,
    content,
    merge_folders,
    source,
    write_group,
)

GOOD = Child(20, (0, 1), gain=0.05, pairs=8)
SLOW = settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SLOW
@given(st.lists(GROUPS, min_size=3, max_size=3))
def test_merging_is_commutative_associative_and_idempotent(groups: list[Group]) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        a, b, c = (write_group(base / f"from-{k}", one) for k, one in enumerate(groups))
        rows = {one: read_campaign(one).rows for one in (a, b, c)}
        unions = [
            SharedRows(row for one in order for row in rows[one]) for order in permutations(rows)
        ]
        assert all(one == unions[0] for one in unions)
        for k, order in enumerate(((a, b, c), (c, a, b))):
            merge_folders(base / f"order-{k}", *order)
        whole = content(base / "order-0")
        assert content(base / "order-1") == whole
        merge_folders(base / "ab", a, b)
        merge_folders(base / "bc", b, c)
        merge_folders(base / "left", base / "ab", c)
        merge_folders(base / "right", a, base / "bc")
        merge_folders(base / "again", base / "left", base / "right", a, c)
        assert content(base / "left") == content(base / "right") == content(base / "again") == whole
        with Store.open(base / "ab" / "campaign.db", read_only=True) as store:
            kept = shared_rows(store)
        union = SharedRows([*read_campaign(a).rows, *read_campaign(b).rows])
        assert kept == union


def test_every_row_of_each_comes_in_once(tmp_path: Path) -> None:
    shared, mine = Child(30, (0,)), Child(40, (0, 1), parent=30)
    a = write_group(tmp_path / "a", Group("a", (shared, mine), ("n",), ("tie them",), calls=3))
    b = write_group(tmp_path / "b", Group("b", (shared,), ("n", "m"), ("Tie them", "x"), calls=1))
    found = merge_folders(tmp_path / "ab", a, b)
    both = tmp_path / "ab"
    for table, expected in {"proposals": 4, "variants": 3, "ideas": 2, "notes": 2}.items():
        assert column(both, f"SELECT count(*) FROM {table}") == [expected], table
    assert column(both, "SELECT count(*) FROM measurements") == [5 + 3 + 5 + 1]
    assert column(both, "SELECT count(*) FROM voids") == [2]
    assert column(both, "SELECT count(*) FROM llm_calls") == [2], "none that is in flight"
    assert column(both, "SELECT DISTINCT prompt || reply FROM llm_calls") == [""]
    with Store.open(both / "campaign.db", read_only=True) as store:
        assert reading.spent(store).dollars == 0.5
        assert store.setting("seconds_spent") == 120.0
        assert reading.seed(store) == variant_id(SEED)
    hosts = column(
        both,
        "SELECT DISTINCT host, json_extract(facts, '$.host_class'), block / ? FROM measurements",
        [SITE],
    )
    assert sorted(hosts) == [("host of a", "class of a", 1), ("host of b", "class of b", 2)]
    assert column(both, "SELECT DISTINCT author FROM notes") == ["ann"]
    assert [one.measurements for one in found.sites] == [8, 6]
    assert found.new["measurement"] == 6


def test_a_slower_machine_makes_nobody_better_or_worse(tmp_path: Path) -> None:
    """The same child on both: its difference to the seed is that within each, not across them."""
    one = Child(30, (0, 1, 2, 3), gain=0.05)
    a = write_group(tmp_path / "a", Group("a", (one,)))
    b = write_group(tmp_path / "b", Group("b", (Child(40, (0, 1, 2, 3), gain=0.02),), offset=0.5))
    merge_folders(tmp_path / "ab", a, b)
    believed = dict(column(tmp_path / "ab", "SELECT variant_id, mean FROM beliefs"))
    seed, quick, slow = (believed[variant_id(text)] for text in (SEED, source(30), source(40)))
    assert seed - quick == pytest.approx(0.05, abs=0.01)
    assert seed - slow == pytest.approx(0.02, abs=0.01)


def test_claims_are_found_anew_and_never_copied(tmp_path: Path) -> None:
    liar = write_group(tmp_path / "liar", Group("liar", (Child(30, (0,), gain=-0.05, pairs=1),)))
    true = write_group(tmp_path / "true", Group("true", (GOOD,)))
    found = merge_folders(tmp_path / "both", liar, true)
    good = variant_id(source(20))
    assert found.certified == (good,)
    assert column(
        tmp_path / "both", "SELECT variant_id FROM front WHERE standing = 'certified'"
    ) == [good]
    verdicts = (
        "SELECT variant_id, json_extract(detail, '$.pairs') FROM decisions WHERE kind = 'verdict'"
    )
    assert column(tmp_path / "both", verdicts) == [(good, 8)], "not the 99 that were written down"
    with Store.open(tmp_path / "both" / "campaign.db", read_only=True) as store:
        assert reading.leader(store) == good


def test_pairs_of_two_roofs_are_no_pairs(tmp_path: Path) -> None:
    """One group ran the child on fresh blocks, the other one the seed: together they prove nothing."""
    a = write_group(tmp_path / "a", Group("a", (GOOD,)))
    b = write_group(tmp_path / "b", Group("b", (GOOD,)))
    for folder, who in ((a, SEED), (b, source(20))):
        with Store.open(folder / "campaign.db") as store:
            sql = "SELECT id FROM measurements WHERE purpose = 'race' AND variant_id = ?"
            for (id,) in store.query(sql, [variant_id(who)]):
                store.void(id, "taken away")
    assert merge_folders(tmp_path / "ab", a, b).certified == ()


def test_what_a_person_refused_stays_refused(tmp_path: Path) -> None:
    a = write_group(tmp_path / "a", Group("a", (GOOD,), vetoes=(20,)))
    b = write_group(tmp_path / "b", Group("b", (GOOD,)))
    found = merge_folders(tmp_path / "ab", a, b)
    assert found.certified == ()
    assert variant_id(source(20)) not in column(tmp_path / "ab", "SELECT variant_id FROM front")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"rungs": {"proxy": {**RUNG, "budget": 9.0}}},
            r"rungs\.proxy\.budget \(8\.0 against 9\.0\)",
        ),
        ({"rungs": {"proxy": RUNG, "larger": {**RUNG, "depth": 5}}}, r"rungs\.larger\.depth"),
        ({"rungs": {"small": {**RUNG, "rows": 9}}}, r"rungs\.proxy\.rows"),
        (
            {"objectives": [{"name": "val_bpb", "direction": "maximise"}]},
            r"objectives\[0\]\.direction",
        ),
        ({"clock": "seconds"}, "clock"),
        ({"task": {"kind": "command", "command": "python t.py"}}, "task"),
    ],
)
def test_what_measures_something_else_is_refused_with_its_key(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    a = write_group(tmp_path / "a", Group("a"))
    b = write_group(tmp_path / "b", Group("b"), **changes)
    with pytest.raises(SharingError, match=named):
        merge_folders(tmp_path / "ab", a, b)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "value", "named"), [("data", "e" * 64, "data: ddd"), ("asks_unseen", 0, "harness")]
)
def test_other_text_and_another_harness_are_refused(
    tmp_path: Path, key: str, value: object, named: str
) -> None:
    a, b = write_group(tmp_path / "a", Group("a")), write_group(tmp_path / "b", Group("b"))
    with Store.open(b / "campaign.db") as store:
        store.set_setting(key, value)
    with pytest.raises(SharingError, match=named):
        merge_folders(tmp_path / "ab", a, b)


def test_a_rung_is_its_settings_and_not_its_name(tmp_path: Path) -> None:
    a = write_group(tmp_path / "a", Group("a", (GOOD,)))
    b = write_group(tmp_path / "b", Group("b", (Child(30, (0,)),)), rungs={"small": RUNG})
    with closing(sqlite3.connect(b / "campaign.db")) as db:
        db.execute("DROP TRIGGER measurements_are_final_UPDATE")
        db.execute("UPDATE measurements SET rung = 'small'")
        db.commit()
    merge_folders(tmp_path / "ba", b, a)
    assert column(tmp_path / "ba", "SELECT DISTINCT rung FROM measurements") == ["proxy"]
    assert column(tmp_path / "ba", "SELECT count(*) FROM measurements") == [29]


def test_a_key_that_a_campaign_is_too_old_to_know_stands_for_what_it_then_was(
    tmp_path: Path,
) -> None:
    newer = {"rungs": {name: {**one, "set": {}} for name, one in CONFIG["rungs"].items()}}
    a = write_group(tmp_path / "a", Group("a"))
    b = write_group(tmp_path / "b", Group("b"), metrics={}, allow_repeats=False, **newer)
    assert len(merge_folders(tmp_path / "ab", a, b).sites) == 2


def test_folders_that_are_no_search_are_refused(tmp_path: Path) -> None:
    a, b = write_group(tmp_path / "a", Group("a")), write_group(tmp_path / "b", Group("b"))
    for kind in ("import", "calibration", "ablation"):
        with Store.open(b / "campaign.db") as store:
            store.set_setting("kind", kind)
        with pytest.raises(SharingError, match=f"b is an? {kind}"):
            merge_folders(tmp_path / "ab", a, b)


def test_sources_are_only_read_also_where_nothing_may_be_written(tmp_path: Path) -> None:
    a, b = write_group(tmp_path / "a", Group("a", (GOOD,))), write_group(tmp_path / "b", Group("b"))
    before = {**contents(a), **contents(b)}
    for folder in (a, b):
        for one in folder.iterdir():
            one.chmod(0o444)
        folder.chmod(0o555)
    try:
        merge_folders(tmp_path / "ab", a, b)
        after = {**contents(a), **contents(b)}
        beside = ("-wal", "-shm")  # SQLite's own, where it may write them
        assert {name: one for name, one in after.items() if not name.endswith(beside)} == before
    finally:
        for folder in (a, b):
            folder.chmod(0o755)


def test_a_folder_with_anything_in_it_is_refused_and_an_empty_one_is_filled(tmp_path: Path) -> None:
    a, new = write_group(tmp_path / "a", Group("a")), tmp_path / "new"
    new.mkdir()
    (new / "mine.txt").write_text("mine")
    with pytest.raises(CampaignError, match="not empty"):
        merge_folders(new, a)
    (new / "mine.txt").unlink()
    merge_folders(new, a)
    with pytest.raises(CampaignError, match="holds a campaign already"):
        merge_folders(new, a)


def test_modules_and_briefs_beside_the_seed_come_along(tmp_path: Path) -> None:
    a = write_group(tmp_path / "a", Group("a"))
    (a / MODULES).mkdir()
    (a / MODULES / "layers.py").write_text("WIDTH = 3\n")
    (a / "brief-speed.md").write_text("fast\n")
    merge_folders(tmp_path / "new", a)
    assert (tmp_path / "new" / MODULES / "layers.py").read_text() == "WIDTH = 3\n"
    assert (tmp_path / "new" / "brief-speed.md").read_text() == "fast\n"


def test_a_dry_run_says_what_would_come_in_and_writes_nothing(tmp_path: Path) -> None:
    a, b = write_group(tmp_path / "a", Group("a")), write_group(tmp_path / "b", Group("b", (GOOD,)))
    found = merge([read_campaign(a), read_campaign(b)], SharedRows(), None)
    assert found.new["measurement"] == 5 + 2 + 16
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "b"]


KILLED = """
import os, signal, sys
from pathlib import Path
from population.sharing import merging
import evo.sharing.merging as ours
at, new, *folders = sys.argv[1:]
def tell(text):
    if text == at:
        os.kill(os.getpid(), signal.SIGKILL)
if at == "rename":
    ours.os.rename = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
ours.merge([ours.read_campaign(Path(one)) for one in folders], ours.SharedRows(), Path(new), tell)
"""


@pytest.mark.parametrize("at", ["writing", "rename"])
def test_a_kill_leaves_nothing_half_made_and_the_next_merge_clears_up(
    tmp_path: Path, at: str
) -> None:
    a, b = write_group(tmp_path / "a", Group("a")), write_group(tmp_path / "b", Group("b"))
    words = [sys.executable, "-c", KILLED, at, str(tmp_path / "ab"), str(a), str(b)]
    done = subprocess.run(words, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "ab").exists()
    merge_folders(tmp_path / "ab", a, b)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "ab", "b"]


def test_a_merged_campaign_that_went_on_merges_again(tmp_path: Path) -> None:
    """What it did itself is a campaign of its own; notes that it changed stay changed."""
    a = write_group(tmp_path / "a", Group("a", (GOOD,), ("a note", "b note")))
    b = write_group(tmp_path / "b", Group("b"))
    merge_folders(tmp_path / "ab", a, b)
    with Store.open(tmp_path / "ab" / "campaign.db") as store:
        request = reading.measurements(store)[0].measurement.request
        own = replace(request, block=3)
        store.add_measurement(Measurement(own, Status.OK, metrics={"val_bpb": 2.0}, host="here"))
        assert store.edit_note(1, "other words", "bob") and store.delete_note(2)
    found = merge_folders(tmp_path / "all", tmp_path / "ab", a, b)
    assert [one.measurements for one in found.sites] == [23, 5, 1]
    blocks = "SELECT block FROM measurements WHERE host = 'here'"
    assert column(tmp_path / "all", blocks) == [3 * SITE + 3]
    stands = "SELECT text, author FROM notes WHERE deleted IS NULL"
    assert column(tmp_path / "all", stands) == [("other words", "bob")]
    again = merge_folders(tmp_path / "again", a, tmp_path / "all")
    assert content(tmp_path / "again") == content(tmp_path / "all")
    assert all(one.vouched is Vouched.OURS for one in again.sites)


def test_two_copies_of_a_campaign_that_went_apart_keep_the_rows_of_both(tmp_path: Path) -> None:
    a = write_group(tmp_path / "a", Group("a", (GOOD,)))
    shutil.copytree(a, tmp_path / "copy")
    for folder, host in ((a, "here"), (tmp_path / "copy", "there")):
        with Store.open(folder / "campaign.db") as store:
            request = reading.measurements(store)[0].measurement.request
            found = Measurement(
                replace(request, block=9), Status.OK, metrics={"val_bpb": 2.0}, host=host
            )
            store.add_measurement(found)
    found = merge_folders(tmp_path / "both", tmp_path / "copy", a)
    assert [one.measurements for one in found.sites] == [25]
    hosts = "SELECT host FROM measurements WHERE block = ? ORDER BY host"
    assert column(tmp_path / "both", hosts, [SITE + 9]) == ["here", "there"]


def test_blocks_that_anyone_used_are_not_fresh(tmp_path: Path) -> None:
    a = write_group(tmp_path / "a", Group("a", (GOOD,)))
    rows = read_campaign(a).rows
    history = _history(rows, lay_out(rows, completed), CONFIG)
    assert history.first_fresh_block("proxy", [variant_id(SEED)]) == 18, "8 pairs from block 10 on"
    assert history.first_fresh_block("larger") == 0


def test_a_merged_campaign_is_resumed_measures_the_seed_here_and_races_on_fresh_blocks(
    tmp_path: Path,
) -> None:
    """Its children count as spent; what it measures itself stands apart from what it took in."""
    runs = {}
    for name in ("a", "b"):
        folder = write_group(tmp_path / name, Group(name))
        (folder / "campaign.db").unlink()
        open_store = make_store(folder / "campaign.db")
        with open_store() as store:
            store.set_setting("config", {**CONFIG, "name": name})
        make_campaign(open_store, budget=BudgetSettings(variants=4)).run()
        with open_store() as store:
            runs[name] = len(reading.measurements(store))
    found = merge_folders(tmp_path / "ab", tmp_path / "a", tmp_path / "b")
    assert [one.measurements for one in found.sites] == list(runs.values())
    children = found.variants - 1
    most = CertificationSettings(attempts=1, most_pairs=4)
    campaign = make_campaign(
        lambda: Store.open(tmp_path / "ab" / "campaign.db"),
        budget=BudgetSettings(variants=children + 2),
        certification=most,
        policy=PolicySettings(seed_blocks=2, seed_repeats=0, final_blocks=2),
    )
    assert campaign.run().complete
    with Store.open(tmp_path / "ab" / "campaign.db") as store:
        rows = [row.measurement.request for row in reading.measurements(store)]
        assert reading.spent(store).variants - 1 == children + 2
    taken = [one.block % SITE for one in rows if one.block >= SITE]
    own = [one for one in rows if one.block < SITE]
    assert len(taken) == sum(runs.values())
    assert sum(one.purpose is Purpose.CALIBRATE for one in own) == 2
    fresh = [one.block for one in own if one.purpose in FRESH]
    assert fresh and min(fresh) > max(taken)
