"""Two agents from outside and a person in one campaign that is killed and resumed: all of it is kept, once."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from evo.serve.verbs import claims
from population.reading import measurements, pending, proposals
from population.reading.memory import notes
from population.store import Store, StoreError
from population.types import Outcome, Status, variant_id
from tests.campaign.real import STANDIN, leftovers, start_evo, write_config
from tests.faults.test_all_together import evo, wait_for
from tests.report.agents import Agent, command, over_http, over_stdio

EACH = 4
SOURCE = STANDIN.read_text(encoding="utf-8")
MOST_WAITS = 60  # of a tool that waits; a guard


def rows(value: int) -> str:
    """A child that nothing else makes."""
    return SOURCE.replace("ROWS = 64", f"ROWS = {value}")


def searcher(name: str, first: int) -> Callable[[Agent], object]:
    """A scripted agent: reads, claims, proposes, waits, and writes down what it saw."""

    async def play(agent: Agent) -> list[str]:
        made = []
        for value in range(first, first + EACH):
            near = await agent("tried_near", id="best", about="rows")
            assert not near.wrong, near.text
            mine = await agent("claim", idea=f"{name} tries exactly {value}{name} rows", minutes=30)
            number = int(re.findall(r"claim (\d+)", mine.text)[0])
            put = await agent(
                "propose", hypothesis=f"{value} rows", source=rows(value), claim=number
            )
            assert not put.wrong, put.text
            made.append(put.text.split()[2])
            for _ in range(MOST_WAITS):
                told = await agent("wait", id=made[-1][:12], seconds=5)
                if told.wrong or told.text.startswith("variant "):
                    break
                await asyncio.sleep(0.1)
            assert f"agent:{name}" in told.text and "ok, val_bpb" in told.text, told.text
        note = await agent("post_note", text=f"{name} saw no gain from rows", on=made[:2])
        assert not note.wrong, note.text
        return made

    return play


@pytest.mark.soak
@pytest.mark.sandbox
@pytest.mark.timeout(900)
def test_two_agents_and_a_person_work_in_one_campaign_across_kills(tmp_path: Path) -> None:
    write_config(tmp_path, budget={"variants": 400})
    (tmp_path / "tokens").write_text("ada token-of-ada-1\nbob token-of-bob-1\n")
    folder, found = tmp_path / "c", dict[str, object]()
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
        stdio = command(folder, "--propose", "--author", "cleo", cwd=tmp_path)
        ways = {
            "bob": lambda: over_http(url, "token-of-bob-1", searcher("bob", 200)),
            "cleo": lambda: over_stdio(stdio, searcher("cleo", 300)),
        }

        def work(name: str) -> None:
            try:
                found[name] = ways[name]()
            except BaseException as error:  # told in the main thread
                found[name] = error

        at_work = [threading.Thread(target=work, args=[name]) for name in ways]
        for one in at_work:
            one.start()
        mine = tmp_path / "mine.py"
        mine.write_text(rows(77))
        wait_for(lambda: put_in(folder) > 0, running, 120)
        evo("inject", str(mine), "--idea", "other rows", "--author", "dora", cwd=tmp_path)
        evo("note", "rows matter little", "--author", "dora", cwd=tmp_path)
        for _ in range(2):
            before = put_in(folder)
            end = time.monotonic() + 120
            while put_in(folder) == before and time.monotonic() < end:
                time.sleep(
                    0.05
                )  # the next proposal of an agent is there: some are never seen by this one
            running.send_signal(signal.SIGKILL)
            running.wait()
            running = start_evo("resume", "--dir", "c", "--plain", cwd=tmp_path)
        for one in at_work:
            one.join(600)
        assert [type(found[name]) for name in ways] == [list, list], found
        wait_for(lambda: waits(folder) == 0, running, 120)
        evo("stop", cwd=tmp_path)
        assert running.wait(200) == 3, (tmp_path / "evo.log").read_text()
    finally:
        for process in (door, running):
            process.kill()
            process.wait()
    with Store.open(folder / "campaign.db") as store:
        made = [one for one in proposals(store) if one.operator == "inject"]
        by_author = Counter(one.author for one in made)
        assert by_author == {"agent:bob": EACH, "agent:cleo": EACH, "dora": 1}
        assert {one.outcome for one in made} == {Outcome.VARIANT}
        for author, first in (("agent:bob", 200), ("agent:cleo", 300)):
            told = {one.variant_id: one.idea for one in made if one.author == author}
            values = range(first, first + EACH)
            assert told == {variant_id(rows(value)): f"{value} rows" for value in values}
        for one in made:
            ok = measurements(store, variant_id=one.variant_id)
            assert ok and ok[0].measurement.status is Status.OK
        keys = Counter(
            (one.request.variant_id, one.request.rung, one.request.block, one.request.repeat)
            for one in (row.measurement for row in measurements(store, statuses=list(Status)))
            if one.status is not Status.LOST
        )
        assert set(keys.values()) == {1}
        assert Counter(one.author for one in notes(store)) == {
            "agent:bob": 1,
            "agent:cleo": 1,
            "dora": 1,
        }
        assert pending(store) == [] and claims(store) == []
    assert not leftovers(str(folder))


def measured(folder: Path) -> int:
    return count(folder, "SELECT count(*) FROM measurements")


def put_in(folder: Path) -> int:
    return count(folder, "SELECT count(*) FROM requests WHERE kind = 'inject'")


def waits(folder: Path) -> int:
    return count(folder, "SELECT count(*) FROM requests WHERE done IS NULL")


def count(folder: Path, sql: str) -> int:
    try:
        with Store.open(folder / "campaign.db", read_only=True) as store:
            return store.number(sql)
    except StoreError:  # there is none yet
        return 0
