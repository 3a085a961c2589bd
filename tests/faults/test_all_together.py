"""Two models, an agent, people and every operator in one campaign that is killed in the middle of calls."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.registry import CLASSICAL, WITH_DESK, WITH_LLM
from population.reading import first_proposal, measurements, pending, proposals
from population.reading.idea_bank import BankIdea, IdeaEffect, line_of
from population.reading.memory import judged_ideas, notes
from population.store import Store
from population.types import Status, variant_id
from tests.campaign.real import STANDIN, leftovers, lone_edits, start_evo, write_config
from tests.operators.fake_openai import FakeOpenAI

EVERY = [*CLASSICAL, *WITH_LLM, *WITH_DESK]
# seconds since the epoch make ever new values, so that no child repeats another
AGENT = (
    'sleep 0.2; sed -i "s/^MIX = [0-9.]*/MIX = 0.$(date +%N)/" train.py; '
    "grep -c '' HISTORY.md; echo 'IDEA: mix otherwise'"
)
VARIANTS = 24
# ideas that elsewhere paid: other rows, each a child that nothing else makes
BANK = [
    BankIdea(
        f"{rows} rows",
        before=STANDIN.read_text(),
        after=STANDIN.read_text().replace("ROWS = 64", f"ROWS = {rows}"),
        effects=(IdeaEffect("val_bpb", "proxy", -0.05, 3, sd=0.01),),
    )
    for rows in (91, 93, 95)
]


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float
) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def evo(*words: str, cwd: Path) -> str:
    process = start_evo(*words, "--dir", "c", cwd=cwd)
    assert process.wait(60) == 0, (cwd / "evo.log").read_text()
    return (cwd / "evo.log").read_text()


@pytest.mark.soak
@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_all_operators_two_models_an_agent_and_people_are_one_campaign_across_kills(
    tmp_path: Path,
) -> None:
    knowledge = tmp_path / "papers"
    knowledge.mkdir()
    (knowledge / "bigrams.md").write_text("SMOOTHING of bigram counts wants a small constant.\n")
    (tmp_path / "bank.jsonl").write_text("".join(f"{line_of(one)}\n" for one in BANK))
    with FakeOpenAI(lone_edits(0.4)) as first, FakeOpenAI(lone_edits(0.3)) as second:
        endpoints = [
            {"name": name, "model": name, "base_url": server.base_url, "key_env": ""}
            for name, server in (("first", first), ("second", second))
        ]
        write_config(
            tmp_path,
            budget={"variants": VARIANTS},
            certification={},
            operators={name: 3 if name in WITH_DESK else 1 for name in EVERY},
            llm={"endpoints": endpoints},
            transplant={"banks": ["bank.jsonl"]},
            knowledge=str(knowledge),
            agent={"command": ["/bin/sh", "-c", AGENT], "seconds": 20},
        )
        running = start_evo("run", "campaign.yaml", "--dir", "c", "--plain", cwd=tmp_path)
        wait_for(lambda: len(first.requests) + len(second.requests) >= 2, running, 60)
        evo("idea", "smooth by less", "--author", "ada", cwd=tmp_path)
        mine = tmp_path / "mine.py"
        mine.write_text(STANDIN.read_text().replace("ROWS = 64", "ROWS = 77"))
        evo("inject", str(mine), "--idea", "other rows", "--author", "ada", cwd=tmp_path)
        evo("note", "rows matter little", "--author", "ada", cwd=tmp_path)
        for _ in range(2):
            asked = len(first.requests) + len(second.requests)
            wait_for(lambda a=asked: len(first.requests) + len(second.requests) > a, running, 60)
            running.send_signal(signal.SIGKILL)  # in the middle of the call that was just asked
            running.wait()
            running = start_evo("resume", "--dir", "c", "--plain", cwd=tmp_path)
        assert running.wait(200) == 0, (tmp_path / "evo.log").read_text()
        prompts = [one.prompt for one in (*first.requests, *second.requests)]
    for words in ("bigram counts wants a small", "smooth by less", "rows matter little"):
        assert any(words in prompt for prompt in prompts), words
    with Store.open(tmp_path / "c" / "campaign.db") as store:
        made = proposals(store)
        child = variant_id(mine.read_text())
        put_in = first_proposal(store, child)
        assert put_in is not None and (put_in.operator, put_in.author) == ("inject", "ada")
        assert measurements(store, variant_id=child)[0].measurement.status is Status.OK
        assert "ada" in [one.author for one in judged_ideas(store)]
        assert [one.text for one in notes(store)] == ["rows matter little"]
        assert pending(store) == []
        names = {one.operator for one in made}
        keys = store.query(
            "SELECT count(*), count(DISTINCT variant_id || rung || block || repeat) "
            "FROM measurements WHERE status != 'lost'"
        )
    assert keys[0][0] == keys[0][1]
    assert {"agent", "inject"} <= names and names & set(CLASSICAL) and names & set(WITH_LLM)
    models = {one.model for one in made if one.operator in WITH_LLM}
    assert {"first", "second"} <= models
    agents = [one for one in made if one.operator == "agent"]
    assert any(one.idea == "mix otherwise" and one.author == "sh" for one in agents), agents
    assert all(one.cost.dollars is None for one in agents)
    assert not leftovers(str(tmp_path))
    status = subprocess_json(tmp_path)
    rows = {one["operator"]: one for one in status["operators"]}
    assert set(rows) == names - {"seed"}
    for one in rows.values():
        assert one["proposals"] >= one["valid"] >= 0 and one["slot_seconds"] >= 0
        assert one["certified_gain"] is not None and len(one["shares"]) == 8
    assert sum(one["proposals"] for one in rows.values()) == len(made) - 1
    assert rows["agent"]["price_unknown"] == rows["agent"]["proposals"]
    assert rows["agent"]["seconds"] > 0


def subprocess_json(home: Path) -> dict[str, list[dict[str, float]]]:
    log = home / "evo.log"
    before = len(log.read_bytes())
    assert start_evo("status", "--json", "--dir", "c", cwd=home).wait(60) == 0
    found: dict[str, list[dict[str, float]]] = json.loads(log.read_bytes()[before:])
    return found
