"""Whole campaigns with every part real but the size: sandbox, stand-in trainer, store, loopback model."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from evo.analysis.health import slot_busy_share
from evo.folder import Folder
from operators.llm.breaker import Patience
from population.reading import measurements, proposals
from population.store import Store, StoreError
from population.types import Purpose, Status
from tests.campaign.real import lone_edits, run_here, start_evo, write_config
from tests.operators.fake_openai import FakeOpenAI

pytestmark = pytest.mark.sandbox


@pytest.mark.soak
def test_slots_are_busy_while_a_model_answers_in_a_second_and_a_run_takes_two(
    tmp_path, monkeypatch
):
    with FakeOpenAI(lone_edits()) as server:
        monkeypatch.setenv("STANDIN_KEY", "secret")
        endpoint = {
            "name": "fake",
            "model": "fake",
            "base_url": server.base_url,
            "key_env": "STANDIN_KEY",
        }
        rung = {"depth": 1, "context": 64, "budget": 1.6, "rows": 64, "memory_mb": 1024}
        config = write_config(
            tmp_path,
            clock="seconds",
            slots=2,
            rungs={"proxy": rung | {"startup_seconds": 0.3}},
            operators={"llm_mutate": 1},
            llm={"endpoints": [endpoint]},
            budget={"variants": 28},
            policy={"seed_blocks": 2, "seed_repeats": 0, "final_blocks": 0, "remeasure_share": 0.1},
        )
        run_here(config, tmp_path / "c")
    with Folder(tmp_path / "c").open_store() as store:
        rows = [row.measurement for row in measurements(store)]
        calls = store.query("SELECT prompt || reply, tokens_in FROM llm_calls WHERE outcome = 'ok'")
    assert len(rows) >= 28
    assert Counter(row.status for row in rows)[Status.OK] == len(rows)
    # no model is asked before the seed has a score: where none works without, the first answer is waited for
    after = [row for row in rows if row.request.purpose is not Purpose.CALIBRATE]
    assert slot_busy_share(after, 2) >= 0.95
    assert len(calls) >= 28 and "secret" not in "".join(text for text, _ in calls)


def test_a_model_that_is_down_leaves_the_campaign_to_the_operators_that_work(tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_KEY", "secret")
    monkeypatch.setattr("operators.llm.client.PATIENCE", Patience(2, 0.05))
    endpoint = {
        "name": "down",
        "model": "x",
        "base_url": "http://127.0.0.1:9/v1",
        "key_env": "STANDIN_KEY",
    }
    config = write_config(
        tmp_path,
        operators={"nudge": 1, "llm_mutate": 1},
        llm={"endpoints": [endpoint]},
    )
    ending = run_here(config, tmp_path / "c")
    assert "variants" in ending.reason
    with Folder(tmp_path / "c").open_store() as store:
        by_operator = Counter((made.operator, made.outcome) for made in proposals(store))
        assert by_operator["nudge", "variant"] == 10


def _has_measured(database: Path) -> bool:
    """Whether a campaign has a measurement: one interrupted before that leaves no folder."""
    try:
        with Store.open(database, read_only=True) as store:
            return bool(measurements(store))
    except StoreError:
        return False


def test_a_second_run_on_one_folder_is_refused(tmp_path):
    write_config(tmp_path, budget={"seconds": 6000})
    first = start_evo("run", "campaign.yaml", "--dir", "c", "--plain", cwd=tmp_path)
    database = tmp_path / "c" / "campaign.db"
    deadline = time.monotonic() + 250
    while not _has_measured(database) and time.monotonic() < deadline:
        time.sleep(0.1)
    second = start_evo("resume", "--dir", "c", cwd=tmp_path)
    assert second.wait(timeout=250) == 2
    assert f"process {first.pid}" in (tmp_path / "evo.log").read_text()
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=250) == 128 + signal.SIGINT


@pytest.mark.soak
def test_an_exact_campaign_of_real_runs_gives_the_same_rows_across_a_kill(tmp_path):
    rung = {"depth": 1, "context": 64, "budget": 20_000, "rows": 32, "memory_mb": 1024}
    config = write_config(
        tmp_path,
        clock="tokens",
        exact=True,
        slots=1,
        random_seed=3,
        rungs={"proxy": rung},
        certification={"most_pairs": 4},
        budget={"variants": 8},
    )
    run_here(config, tmp_path / "whole")
    process = start_evo("run", "campaign.yaml", "--dir", "cut", "--plain", cwd=tmp_path)
    deadline = time.monotonic() + 250
    while not _has_measured(tmp_path / "cut" / "campaign.db") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process = start_evo("resume", "--dir", "cut", "--plain", cwd=tmp_path)
    assert process.wait(timeout=250) == 0, (tmp_path / "evo.log").read_text()

    def rows_of(path: Path) -> list[tuple[object, ...]]:
        with Folder(path).open_store() as store:
            found = [row.measurement for row in measurements(store)]
        return [(one.request, one.status, one.metrics.get("val_bpb")) for one in found]

    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "cut")
    assert len(rows_of(tmp_path / "whole")) >= 10
