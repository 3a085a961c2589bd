"""A campaign run against a server, and again from its records with the server gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evo.config import ConfigError
from operators.llm.answer import Message, prompt_text
from operators.llm.replay import Recorded, ReplayClient
from operators.llm.settings import Endpoint, LlmSettings
from operators.operator import ProposalFailed
from population.reading import proposals
from population.store import Store
from population.types import LlmCall
from tests.campaign.real import lone_edits, run_here, write_config
from tests.operators.fake_budgets import FakeCallLog
from tests.operators.fake_openai import FakeOpenAI

pytestmark = pytest.mark.sandbox


def config_in(folder: Path, base_url: str, **llm: Any) -> Path:
    endpoint = {"name": "fake", "model": "fake", "base_url": base_url, "key_env": ""}
    folder.mkdir()
    return write_config(
        folder,
        operators={"llm_mutate": 2, "llm_rewrite": 1, "nudge": 1},
        llm={"endpoints": [endpoint], **llm},
        budget={"variants": 4},
        rungs={"proxy": {"depth": 1, "context": 64, "budget": 50_000, "rows": 64}},
        clock="tokens",
        slots=1,
        exact=True,
    )


def made(path: Path) -> list[tuple[Any, ...]]:
    with Store.open(path / "campaign.db", read_only=True) as store:
        return [(p.number, p.operator, p.outcome, p.variant_id, p.idea) for p in proposals(store)]


def test_the_same_variants_come_from_the_records_and_nothing_is_billed(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    with FakeOpenAI(lone_edits(delay=0)) as server:
        run_here(config_in(tmp_path / "a", server.base_url), first)
        url, asked = server.base_url, len(server.requests)
    assert asked >= 2
    run_here(config_in(tmp_path / "b", url, replay=str(first)), again)
    assert made(again) == made(first)
    with Store.open(again / "campaign.db", read_only=True) as store:
        ((calls, tokens, dollars),) = store.query(
            "SELECT count(*), sum(tokens_in + tokens_out), total(dollars) FROM llm_calls"
        )
        ((billed,),) = store.query("SELECT sum(tokens_in + tokens_out) FROM proposals")
        told = store.query("SELECT part FROM v_prompts")
    assert (calls, tokens, dollars, billed) == (asked, 0, 0.0, 0)
    assert ("brief",) in told and ("sources",) in told


def test_a_prompt_that_was_never_sent_fails_clearly_and_is_no_call(tmp_path: Path) -> None:
    asked = (Message("user", "improve"),)
    with Store.create(tmp_path / "campaign.db") as store:
        for outcome, reply in (("HTTP 500", ""), ("ok", "hello")):
            store.add_llm_call(
                LlmCall("fake", "m", prompt_text(asked), reply, 9, 9, 1.0, 1.0, outcome)
            )
    settings = LlmSettings(endpoints=(Endpoint(name="fake", model="m"),))
    calls = list[LlmCall]()
    client = ReplayClient(settings, Recorded(tmp_path / "campaign.db"), FakeCallLog(calls))
    rng = np.random.default_rng(0)
    with pytest.raises(ProposalFailed, match="fake: the replayed campaign never sent this prompt"):
        client.ask([Message("user", "another")], rng)
    assert not calls
    reply = client.ask(asked, rng)
    assert (reply.text, reply.cost.tokens_in, reply.cost.dollars) == ("hello", 0, 0.0)
    assert [(one.outcome, one.tokens_in) for one in calls] == [("ok", 0)]


def test_records_that_are_not_there_are_named(tmp_path: Path) -> None:
    config = config_in(tmp_path / "b", "http://127.0.0.1:9/v1", replay="nowhere.db")
    with pytest.raises(ConfigError, match=r"llm: replay: no campaign store at .*nowhere\.db"):
        run_here(config, tmp_path / "again")
