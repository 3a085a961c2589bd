"""Two scripted agents who take part in a campaign from outside, and what it must hold of them in the end."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from evo.serve.verbs import claims
from population.reading import measurements, pending, proposals
from population.reading.memory import notes
from population.store import Store, StoreError
from population.types import Outcome, Status, variant_id
from tests.campaign.real import STANDIN
from tests.report.agents import Agent, command, over_http, over_stdio

EACH = 4
FIRST = {"bob": 200, "cleo": 300}  # number of rows that each tries
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


@contextmanager
def agents_at_work(home: Path, folder: Path, url: str, token: str) -> Iterator[dict[str, object]]:
    """Bob over HTTP and cleo over stdio, each in a thread; at the end both have done all of it."""
    stdio = command(folder, "--propose", "--author", "cleo", cwd=home)
    ways = {
        "bob": lambda: over_http(url, token, searcher("bob", FIRST["bob"])),
        "cleo": lambda: over_stdio(stdio, searcher("cleo", FIRST["cleo"])),
    }
    found = dict[str, object]()

    def work(name: str) -> None:
        try:
            found[name] = ways[name]()
        except BaseException as error:  # told in the main thread
            found[name] = error

    at_work = [threading.Thread(target=work, args=[name], daemon=True) for name in ways]
    for one in at_work:
        one.start()
    yield found
    for one in at_work:
        one.join(600)
    assert [type(found.get(name)) for name in ways] == [list, list], found


def until_put_in(folder: Path) -> None:
    """Wait for the next proposal of an agent: some are never seen by a process that is killed then."""
    before, end = put_in(folder), time.monotonic() + 120
    while put_in(folder) == before and time.monotonic() < end:
        time.sleep(0.05)


def must_hold_what_was_put_in(store: Store, people: Mapping[str, int]) -> None:
    """What each agent and person put in: once, by its author, measured; no row twice, nothing waits."""
    made = [one for one in proposals(store) if one.operator == "inject"]
    by_author = Counter(one.author for one in made)
    assert by_author == {"agent:bob": EACH, "agent:cleo": EACH, **people}
    assert {one.outcome for one in made} == {Outcome.VARIANT}
    for name, first in FIRST.items():
        told = {one.variant_id: one.idea for one in made if one.author == f"agent:{name}"}
        values = range(first, first + EACH)
        assert told == {variant_id(rows(value)): f"{value} rows" for value in values}
    for one in made:
        ok = measurements(store, variant_id=one.variant_id)
        assert ok and ok[0].measurement.status is Status.OK
    keys = Counter(
        row.measurement.request.key
        for row in measurements(store, statuses=list(Status))
        if row.measurement.status is not Status.LOST
    )
    assert set(keys.values()) == {1}
    assert Counter(one.author for one in notes(store)) == {
        "agent:bob": 1,
        "agent:cleo": 1,
        "dora": 1,
    }
    assert pending(store) == [] and claims(store) == []


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
