"""A ladder of three rungs with every part real: killed in the middle, resumed, and reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from population.ladder import Role
from population.reading import decisions, measurements
from population.store import Store, StoreError
from population.types import Purpose, Status
from tests.campaign.real import ROOT, start_evo, write_config

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]


def rung(depth: int, budget: float) -> dict[str, Any]:
    return {
        "depth": depth,
        "context": 64,
        "budget": budget,
        "rows": 64,
        "memory_mb": 1024,
        "startup_seconds": 0.3,
    }


def is_climbing(database: Path) -> bool:
    """Whether someone was chosen and has begun to run for it."""
    try:
        with Store.open(database, read_only=True) as store:
            chosen = {one.variant_id for one in decisions(store, ["chosen"])}
            rows = [row.measurement.request for row in measurements(store)]
    except StoreError:
        return False
    return any(one.purpose is Purpose.GRADUATE and one.variant_id in chosen for one in rows)


def told(folder: Path, *command: str) -> Any:
    """What a command prints as JSON."""
    main = [sys.executable, "-c", "from evo.cli import main; main()", *command, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        main, cwd=folder, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.soak
def test_a_ladder_killed_in_the_middle_is_climbed_to_its_end_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    graduation = {"promotion": "auto", "graduates": 2, "controls": 1}
    graduation |= {"blocks": 1, "budget_shares": [0.5]}
    write_config(
        tmp_path,
        rungs={"proxy": rung(1, 0.1), "mid": rung(1, 0.15), "target": rung(2, 0.2)},
        graduation=graduation,
        objectives=[  # speed is noise, so that some child is always on the front
            {"name": "val_bpb", "limit": "seed x 1.5"},
            {"name": "serve_tokens_per_second", "direction": "maximise"},
        ],
        certification={"attempts": 0},
        budget={"variants": 5},
    )
    database = tmp_path / "c" / "campaign.db"
    first = start_evo("run", "campaign.yaml", "--dir", "c", "--plain", cwd=tmp_path)
    deadline = time.monotonic() + 250
    while not is_climbing(database) and time.monotonic() < deadline:
        assert first.poll() is None, (tmp_path / "evo.log").read_text()
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    with Store.open(database) as store:
        before = decisions(store, ["chosen"])
    assert before, "who goes up is recorded before anything runs"
    again = start_evo("resume", "--dir", "c", "--plain", cwd=tmp_path)
    assert again.wait(timeout=400) == 0, (tmp_path / "evo.log").read_text()
    with Store.open(database) as store:
        rows = [row.measurement for row in measurements(store)]
        after = decisions(store, ["chosen"])
    assert after[: len(before)] == before
    keys = Counter(
        (r.request.variant_id, r.request.rung, r.request.block, r.request.repeat) for r in rows
    )
    assert set(keys.values()) == {1}
    ladder = [r.request.rung for r in rows if r.request.purpose is Purpose.GRADUATE]
    assert {"proxy", "mid/one-step", "mid", "target/one-step", "target"} <= set(ladder)
    assert all(r.status is Status.OK for r in rows if r.request.rung == "target")
    found = told(tmp_path, "ladder", "--dir", "c")
    assert {one["rung"] for one in found["steps"]} == {"mid", "target"}
    assert [one["rung"] for one in found["cost"]] == ["proxy", "mid", "target"]
    controls = {
        one.variant_id
        for one in after
        if (one.detail["rung"], one.detail["role"]) == ("target", Role.CONTROL)
    }  # none where the middle of a few children is on the front
    assert found["transfer"]["promotions"]["controls_tried"] == len(controls)
    if found["reaching"] is not None:  # only where the best is better than the seed at the target
        assert found["reaching"]["budget"]["blocks"] == 3
        assert found["reaching"]["self_reported_tokens"] is not None
