"""Two agents from outside and a person in one campaign that is killed and resumed: all of it is kept, once."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from population.store import Store
from tests.campaign.real import leftovers, start_evo, write_config
from tests.faults.taking_part import (
    agents_at_work,
    measured,
    must_hold_what_was_put_in,
    put_in,
    rows,
    until_put_in,
    waits,
)
from tests.faults.test_all_together import evo, wait_for


@pytest.mark.soak
@pytest.mark.sandbox
@pytest.mark.timeout(900)
def test_two_agents_and_a_person_work_in_one_campaign_across_kills(tmp_path: Path) -> None:
    write_config(tmp_path, budget={"variants": 400})
    (tmp_path / "tokens").write_text("ada token-of-ada-1\nbob token-of-bob-1\n")
    folder = tmp_path / "c"
    running = start_evo("run", "campaign.yaml", "--dir", "c", "--plain", cwd=tmp_path)
    wait_for(lambda: measured(folder) > 2, running, 120)
    words = ("mcp", "c", "--propose", "--http", "--token-file", "tokens")
    home = tmp_path / "door"
    home.mkdir()
    door = start_evo("mcp", str(folder), *words[2:-1], str(tmp_path / "tokens"), cwd=home)
    try:
        log = home / "evo.log"
        wait_for(lambda: "/mcp" in log.read_text(), door, 120)
        url = re.findall(r"http://\S+", log.read_text())[0]
        with agents_at_work(tmp_path, folder, url, "token-of-bob-1"):
            mine = tmp_path / "mine.py"
            mine.write_text(rows(77))
            wait_for(lambda: put_in(folder) > 0, running, 120)
            evo("inject", str(mine), "--idea", "other rows", "--author", "dora", cwd=tmp_path)
            evo("note", "rows matter little", "--author", "dora", cwd=tmp_path)
            for _ in range(2):
                until_put_in(folder)
                running.send_signal(signal.SIGKILL)
                running.wait()
                running = start_evo("resume", "--dir", "c", "--plain", cwd=tmp_path)
        wait_for(lambda: waits(folder) == 0, running, 120)
        evo("stop", cwd=tmp_path)
        assert running.wait(200) == 3, (tmp_path / "evo.log").read_text()
    finally:
        for process in (door, running):
            process.kill()
            process.wait()
    with Store.open(folder / "campaign.db") as store:
        must_hold_what_was_put_in(store, {"dora": 1})
    assert not leftovers(str(folder))
