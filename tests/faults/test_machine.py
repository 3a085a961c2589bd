"""What a machine does to a campaign: a full disk, a held database, a clock set back, killed boxes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

import population.connection
import population.store
from evo.config import read_config
from evo.folder import CampaignError, Folder, change_config, config_of, create_campaign
from evo.runtime.budget import BudgetSettings
from evo.runtime.neighbours import MARK, end_leftovers, end_strays
from population.reading import counts_by_status, events, measurements
from population.store import StoreError
from population.types import Purpose, RunRequest, Status
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store
from tests.campaign.real import leftovers, run_here, start_evo, write_config


def screens(open_store) -> int:
    with open_store() as store:
        return sum(row.measurement.request.purpose is Purpose.SCREEN for row in measurements(store))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 16 MB; skipped where none may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no byte free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 18, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                pass
    return ballast


def test_a_full_disk_makes_the_records_wait_and_nothing_is_lost(small_disk):
    open_store = make_store(small_disk / "campaign.db")
    waits, seen = list[str](), list[int]()
    complained = threading.Event()

    def fault() -> None:
        ballast = fill(small_disk)
        complained.wait(120)
        time.sleep(0.5)
        seen.append(len(evaluator.evaluated))
        ballast.unlink()

    thread = threading.Thread(target=fault)
    evaluator = FakeEvaluator(seconds=0.05, at={8: thread.start})
    campaign = make_campaign(open_store, evaluator=evaluator, budget=BudgetSettings(variants=30))
    campaign.components.recorder._complain = lambda text: (waits.append(text), complained.set())
    ending = campaign.run()
    thread.join()
    assert "variants" in ending.reason
    assert len(waits) >= 1 and "full" in waits[0]
    assert 0 < seen[0] < len(evaluator.evaluated)
    assert screens(open_store) == 30
    repeated = Counter(evaluator.evaluated)
    with open_store() as store:
        lost = counts_by_status(store).get(Status.LOST, 0)
    assert len(evaluator.evaluated) - len(repeated) <= lost
    assert not store_is_damaged(open_store)


def store_is_damaged(open_store) -> bool:
    with open_store() as store:
        return store.query("PRAGMA integrity_check") != [("ok",)]


def test_on_a_disk_that_stays_full_a_second_stop_ends_it(small_disk):
    open_store = make_store(small_disk / "campaign.db")
    complained = threading.Event()

    def fault() -> None:
        fill(small_disk)
        complained.wait(120)
        campaign.stop()
        campaign.stop()

    evaluator = FakeEvaluator(seconds=0.05, at={8: threading.Thread(target=fault).start})
    campaign = make_campaign(open_store, evaluator=evaluator, budget=BudgetSettings(variants=5000))
    campaign.components.recorder._complain = lambda text: complained.set()
    ending = campaign.run()
    assert not ending.complete
    (small_disk / "ballast").unlink()
    recorded = screens(open_store)
    with open_store() as store:
        end_leftovers(store)
    again = make_campaign(open_store, budget=BudgetSettings(variants=recorded + 5))
    again.run()
    assert screens(open_store) >= recorded + 5


def test_another_writer_that_holds_the_database_longer_than_is_waited_costs_time_alone(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(population.connection, "BUSY_SECONDS", 0.5)
    open_store = make_store(tmp_path / "campaign.db")
    waits, complained, held = list[str](), threading.Event(), threading.Event()

    def hold() -> None:
        other = sqlite3.connect(tmp_path / "campaign.db", timeout=120)
        other.execute("BEGIN IMMEDIATE")
        held.set()
        complained.wait(120)
        time.sleep(1.5)  # the lane that makes children meets it, too
        other.rollback()
        other.close()

    thread = threading.Thread(target=hold)

    def take_it() -> None:  # before the campaign goes on
        thread.start()
        held.wait(120)

    evaluator = FakeEvaluator(seconds=0.05, at={6: take_it})
    campaign = make_campaign(open_store, evaluator=evaluator, budget=BudgetSettings(variants=20))
    campaign.components.recorder._complain = lambda text: (waits.append(text), complained.set())
    ending = campaign.run()
    thread.join()
    assert "variants" in ending.reason and screens(open_store) == 20
    assert len(waits) >= 1 and "locked" in waits[0]
    assert len(set(evaluator.evaluated)) == len(evaluator.evaluated)


def test_a_clock_set_back_by_a_day_changes_nothing_but_labels(tmp_path, monkeypatch):
    open_store = make_store(tmp_path / "campaign.db")
    real, jumped = time.time, threading.Event()
    monkeypatch.setattr(time, "time", lambda: real() - (86_400 if jumped.is_set() else 0))
    campaign = make_campaign(
        open_store,
        evaluator=FakeEvaluator(seconds=0.01, at={8: jumped.set}),
        budget=BudgetSettings(variants=20, seconds=600),
    )
    ending = campaign.run()
    assert "variants" in ending.reason and screens(open_store) == 20
    assert campaign.components.budget.spent().seconds < 600
    with open_store() as store:
        labels = [row.measurement.started_at for row in measurements(store)]
        assert max(labels) - min(labels) > 80_000
        told = events(store)
    assert [one.id for one in told] == sorted(one.id for one in told)


def test_what_a_killed_campaign_left_is_ended_also_after_the_clock_was_set(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    asleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    ours = subprocess.Popen(asleep, env={**os.environ, MARK: "x"})
    theirs = subprocess.Popen(asleep, env={k: v for k, v in os.environ.items() if k != MARK})
    try:
        with open_store() as store:
            ((seed_id,),) = store.query("SELECT id FROM variants")
            for block, process in enumerate((ours, theirs)):
                request = RunRequest(seed_id, "proxy", block, 0, Purpose.CALIBRATE)
                store.open_run(request, "slot0")
                store.note_run_process(request, process.pid, time.time() - 86_400)
            assert end_leftovers(store) == 2
            assert not store.query("SELECT * FROM runs")
        ours.wait(timeout=120)  # psutil has taken its exit code
        assert theirs.poll() is None  # another program has the pid by now
    finally:
        for process in (ours, theirs):
            process.kill()
            process.wait()


def test_a_run_that_was_killed_before_it_was_on_record_is_ended_too(tmp_path):
    asleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    marked = {**os.environ, MARK: "x"}
    ours = subprocess.Popen([*asleep, str(tmp_path / "c" / "runs" / "run-1")], env=marked)
    others = [
        subprocess.Popen([*asleep, str(tmp_path / "d" / "runs" / "run-1")], env=marked),
        subprocess.Popen([*asleep, str(tmp_path / "c" / "runs" / "run-1")], env={}),
    ]
    try:
        deadline = time.monotonic() + 120
        while end_strays(tmp_path / "c" / "runs") < 1 and time.monotonic() < deadline:
            time.sleep(0.05)  # until it has its own command line
        ours.wait(timeout=120)
        assert all(other.poll() is None for other in others)
    finally:
        for process in (ours, *others):
            process.kill()
            process.wait()


def test_a_store_that_takes_no_measurements_ends_the_campaign_with_its_reason(tmp_path):
    open_store = make_store(tmp_path / "campaign.db")
    with open_store() as store:
        store.query(
            "CREATE TRIGGER broken BEFORE INSERT ON measurements "
            "BEGIN SELECT RAISE(ABORT, 'the table is broken'); END"
        )
    ending = make_campaign(open_store).run()
    assert ending.reason.startswith("failed: StoreError") and "is broken" in ending.reason
    assert not ending.complete


# -- with every part real ----------------------------------------------------------------------------


@pytest.mark.sandbox
def test_boxes_killed_from_outside_are_lost_and_run_again(tmp_path):
    write_config(tmp_path, budget={"variants": 6})
    process = start_evo("run", "campaign.yaml", "--dir", "c", "--plain", cwd=tmp_path)
    open_store = Folder(tmp_path / "c").open_store
    while so_far(open_store)[Status.LOST] < 3 and process.poll() is None:
        before = so_far(open_store)
        for child in psutil.Process(process.pid).children():
            if "run-" in " ".join(_words(child)):
                child.kill()  # one that is done by now is no loss, but a row
                while so_far(open_store) == before and process.poll() is None:
                    time.sleep(0.05)
                break
        time.sleep(0.05)
    assert process.wait(timeout=250) == 0, (tmp_path / "evo.log").read_text()
    with open_store() as store:
        counts = counts_by_status(store)
        lost = [row.measurement.reason for row in measurements(store, statuses=[Status.LOST])]
    assert counts[Status.LOST] >= 3 and set(counts) == {Status.OK, Status.LOST}
    assert any("killed by signal 9" in reason for reason in lost), lost
    assert screens(open_store) == 6
    assert not leftovers(str(tmp_path))


def so_far(open_store) -> Counter:
    try:
        with open_store() as store:
            return Counter(counts_by_status(store))
    except StoreError:  # there is none yet
        return Counter()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.mark.sandbox
def test_two_runs_that_begin_at_once_on_one_folder_are_one_run_and_one_refusal(tmp_path):
    write_config(tmp_path, budget={"variants": 2})
    words = ("run", "campaign.yaml", "--dir", "c", "--plain")
    both = [start_evo(*words, cwd=tmp_path) for _ in range(2)]
    assert sorted(process.wait(timeout=250) for process in both) == [0, 2]
    log = (tmp_path / "evo.log").read_text()
    assert "is being run by process" in log or "holds a campaign already" in log
    assert screens(Folder(tmp_path / "c").open_store) == 2


def test_a_config_edited_between_runs_is_refused_or_taken(tmp_path):
    config = write_config(tmp_path)
    folder = create_campaign(read_config(config), tmp_path / "c")
    assert change_config(folder, ["budget.variants=40", "slots=2"]).budget.variants == 40
    kept = folder.config.read_text()
    for change, word in (
        ("rungs.proxy.budget=9", "rungs"),
        ("clock=tokens", "clock"),
        ("random_seed=5", "random_seed"),
        ("constraints=[{name: parameters, at_most: 5}]", "constraints"),
    ):
        with pytest.raises(CampaignError, match=f"{word}.* changed since this campaign began"):
            change_config(folder, [change])
        assert folder.config.read_text() == kept
    folder.config.write_text(kept.replace("depth: 1", "depth: 2"))
    with pytest.raises(CampaignError, match="rungs changed"):
        config_of(folder)
    folder.config.write_text(kept)
    with (tmp_path / "c" / "train.py").open("a") as seed:
        seed.write("\n# edited\n")
    with pytest.raises(CampaignError, match=r"not the seed this campaign began with.*evo export"):
        config_of(folder)


@pytest.mark.sandbox
def test_text_edited_between_runs_is_refused(tmp_path):
    text = tmp_path / "text"
    text.mkdir()
    for number in range(60):
        (text / f"{number:02}.txt").write_text(f"document {number} says so\n" * 200)
    config = write_config(tmp_path, data={"path": str(text / "*.txt")}, budget={"variants": 1})
    run_here(config, tmp_path / "c")
    (text / "07.txt").write_text("another text altogether\n" * 200)
    with pytest.raises(CampaignError, match="the text has changed"):
        run_here(config, tmp_path / "c")


def test_a_truncated_database_is_said_in_one_line_and_salvaged(tmp_path):
    home = tmp_path / "c"
    home.mkdir()
    open_store = make_store(home / "campaign.db")
    make_campaign(open_store, budget=BudgetSettings(variants=80)).run()
    before = screens(open_store)
    raw = (home / "campaign.db").read_bytes()
    (home / "campaign.db").write_bytes(raw[: len(raw) * 9 // 10])
    with pytest.raises(StoreError, match="evo salvage"):
        screens(open_store)
    for words, code in (
        (("status", "--dir", "c"), 2),
        (("salvage", "--dir", "c", "-o", "new"), 0),
        (("salvage", "--dir", "c", "-o", "new"), 2),
        (("status", "--dir", "new"), 0),
    ):
        process = start_evo(*words, cwd=tmp_path)
        assert process.wait(timeout=250) == code, (tmp_path / "evo.log").read_text()
    log = (tmp_path / "evo.log").read_text()
    assert "Traceback" not in log and "malformed; `evo salvage --dir c -o NEW`" in log
    saved = screens(lambda: population.store.Store.open(tmp_path / "new" / "campaign.db"))
    assert 0 < saved <= before
