"""The form of answers: what a server can do is probed once, and a refusal is not a fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evo.folder import Folder
from operators.llm.answer import Message
from operators.llm.breaker import Patience
from operators.llm.client import LlmClient
from operators.llm.json_answer import plain_answer
from operators.llm.response_formats import (
    PROBE,
    Form,
    Forms,
    answer_prompt,
    dressed,
    response_format,
)
from operators.llm.settings import Endpoint, LlmSettings
from operators.llm_operators import LlmMutate
from operators.operator import ProposalFailed
from operators.prompting import again_messages, mutate_messages
from operators.source.edits import apply_reply
from population.types import LlmCall
from tests.campaign.real import lone_edits, run_here, write_config
from tests.operators.fake_budgets import FakeCallLog, FakeTokenBudget
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow
from tests.operators.samples import SMALL, request

EDIT = {
    "idea": "warmer\nstart",
    "idea_number": 12,
    "edits": [{"search": "WARMUP = 0.1  # knob: float 0.0 0.5", "replace": "WARMUP = 0.2"}],
    "file": "",
}
TEXT = "IDEA: plain"


def server_that(able: str, refusal: int = 400) -> FakeOpenAI:
    """A server that can answer in this form and in free text."""

    def answer(asked: RequestRow) -> str | Answer:
        kind = asked.body.get("response_format", {}).get("type", "text").removeprefix("json_")
        if kind not in (able, "text"):
            return Answer("unknown field response_format", status=refusal)
        if asked.prompt == PROBE:
            return '{"ok": true}' if kind != "text" else "fine"
        return json.dumps(EDIT) if kind != "text" else TEXT

    return FakeOpenAI(answer, forms=True)


def client_of(server: FakeOpenAI, calls: list[LlmCall], forms: Forms) -> LlmClient:
    endpoint = Endpoint(
        name="a", model="m", base_url=server.base_url, key_env="", reply="auto", max_tokens=100
    )
    settings, once = LlmSettings(endpoints=(endpoint,)), Patience(attempts=1, breaker_failures=1)
    call_log = FakeCallLog(calls)
    return LlmClient(settings, FakeTokenBudget(), call_log, environ={}, forms=forms, patience=once)


@pytest.mark.parametrize("refusal", [400, 422, 500])
@pytest.mark.parametrize(("able", "probes"), [("schema", 1), ("object", 2), ("text", 3)])
def test_the_strictest_form_that_works_is_found_once_and_kept(
    able: str, probes: int, refusal: int
) -> None:
    calls, kept, rng = list[LlmCall](), list[dict[str, str]](), np.random.default_rng(0)
    with server_that(able, refusal) as server:
        client = client_of(server, calls, Forms(keep=kept.append))
        replies = [client.ask([Message("user", "improve")], rng, 3) for _ in range(2)]
        assert len(server.requests) == probes + 2
        assert (
            not client.is_unavailable()
        )  # a refused field is no failure, though one failure makes it rest
        again = client_of(server, [], Forms(kept[-1]))
        again.ask([Message("user", "improve")], rng)
        assert len(server.requests) == probes + 3
    assert list(kept[-1].values()) == [able]
    assert len(calls) == probes + 2 and {call.proposal_number for call in calls} == {3}
    assert replies[0].cost.tokens_in == replies[1].cost.tokens_in + 100 * sum(
        call.outcome == "ok" for call in calls[:probes]
    )
    if able != "text":
        answer = plain_answer(replies[0].text)
        assert answer.startswith("IDEA 12: warmer start\n")
        assert "WARMUP = 0.2\n" in apply_reply(SMALL, answer)
    else:
        assert replies[0].text == TEXT


def test_of_a_server_that_is_down_nothing_is_remembered() -> None:
    kept = list[dict[str, str]]()
    with FakeOpenAI([Answer(status=500)], forms=True) as server:
        client = client_of(server, [], Forms(keep=kept.append))
        with pytest.raises(ProposalFailed, match="HTTP 500"):
            client.ask([Message("user", "improve")], np.random.default_rng(0))
    assert not kept


def test_a_server_whose_probes_come_to_nothing_is_probed_ever_more_rarely() -> None:
    def answer(asked: RequestRow) -> str | Answer:
        return Answer(hang_up=True) if "response_format" in asked.body else TEXT

    with FakeOpenAI(answer, forms=True) as server:
        client = client_of(server, [], Forms())
        for _ in range(9):
            assert client.ask([Message("user", "improve")], np.random.default_rng(0)).text == TEXT
    probes = sum("response_format" in one.body for one in server.requests)
    assert (probes, len(server.requests)) == (4, 9 + 4)  # at the 1st, 2nd, 4th and 8th question


@pytest.mark.parametrize("odd", [Answer("{", finish_reason="length"), Answer(" "), Answer("Sure!")])
def test_a_model_that_cannot_keep_to_a_form_is_asked_for_text_from_then_on(odd: Answer) -> None:
    def answer(asked: RequestRow) -> str | Answer:
        return odd if "response_format" in asked.body or asked.prompt == PROBE else TEXT

    kept = list[dict[str, str]]()
    with FakeOpenAI(answer, forms=True) as server:
        client = client_of(server, [], Forms(keep=kept.append))
        for _ in range(2):
            assert client.ask([Message("user", "improve")], np.random.default_rng(0)).text == TEXT
    assert len(server.requests) == 3 + 2
    assert list(kept[-1].values()) == ["text"]


def test_a_probe_holds_few_tokens_of_the_budget() -> None:
    with FakeOpenAI(lambda asked: '{"ok": true}', forms=True) as server:
        endpoint = Endpoint(name="a", model="m", base_url=server.base_url, key_env="")
        client = LlmClient(
            LlmSettings(endpoints=(endpoint,)), FakeTokenBudget(), FakeCallLog([]), environ={}
        )
        client.ask([Message("user", "improve")], np.random.default_rng(0))
    assert [one.body["max_tokens"] for one in server.requests] == [2048, 8192]


def test_a_whole_file_and_broken_json_are_read_as_well() -> None:
    new = SMALL.replace("BATCH = 32", "BATCH = 64")
    text = plain_answer(json.dumps({"idea": "x", "edits": [], "file": new}))
    assert apply_reply(SMALL, text) == new
    for odd in ("{", "[1]", '{"edits": 3}', "IDEA: x"):
        assert plain_answer(odd) == odd


@pytest.mark.parametrize("form", Form)
def test_a_prompt_states_one_form_of_answers_once_also_when_it_is_asked_again(form: Form) -> None:
    first = mutate_messages(request(SMALL))
    first = (replace(first[0], edited=SMALL), *first[1:])
    again = again_messages(first, "no", "the reply changes nothing")
    told = "".join(one.content for one in dressed(again, form))
    assert told.count("# How to answer") == 1
    stated = [one for one in ("<<<<<<< SEARCH", '"search":', '"line":') if one in told]
    wanted = {Form.TEXT: "<<<<<<< SEARCH", Form.LINES: '"line":'}.get(form, '"search":')
    assert stated == [wanted] and answer_prompt(form) in told


def test_only_by_lines_the_schema_is_made_of_the_file_and_nobody_is_probed_for_it() -> None:
    (message, *_) = mutate_messages(request(SMALL))
    messages = [replace(message, edited=SMALL)]
    assert "MATRIX_LR = 0.02" in json.dumps(response_format(Form.LINES, messages))
    assert "MATRIX_LR" not in json.dumps(response_format(Form.SCHEMA, messages))
    unfit = [replace(message, edited="(")]  # no line of it can be edited
    assert response_format(Form.LINES, unfit) == response_format(Form.SCHEMA)
    assert dressed(unfit, Form.LINES) == dressed(unfit, Form.SCHEMA)
    probed = list[Form]()
    endpoint = Endpoint(name="a", model="m", key_env="")
    assert Forms().of(endpoint, lambda form: probed.append(form) or False) is Form.TEXT  # type: ignore[func-returns-value]
    assert probed == [Form.SCHEMA, Form.OBJECT, Form.TEXT]


def test_an_answer_is_shown_again_as_the_model_gave_it() -> None:
    said = json.dumps({"idea": "x", "idea_numbers": [], "edits": [], "file": "no file"})
    with FakeOpenAI([said], forms=True) as server:
        endpoint = Endpoint(
            name="a", model="m", base_url=server.base_url, key_env="", reply="schema"
        )
        client = LlmClient(
            LlmSettings(endpoints=(endpoint,)), FakeTokenBudget(), FakeCallLog([]), environ={}
        )
        with pytest.raises(ProposalFailed, match="no usable edit"):
            LlmMutate(client).propose(request(SMALL))
    assert server.requests[1].body["messages"][-2] == {"role": "assistant", "content": said}


@pytest.mark.sandbox
def test_a_resumed_campaign_knows_what_was_probed(tmp_path: Path) -> None:
    edits, probed = lone_edits(delay=0), list[str]()

    def answer(asked: RequestRow) -> str | Answer:
        if asked.prompt == PROBE:
            probed.append(asked.body["response_format"]["type"])
            return '{"ok": true}'
        return edits(asked)

    with FakeOpenAI(answer, forms=True) as server:
        endpoint = {"name": "a", "model": "m", "base_url": server.base_url, "key_env": ""}
        config = write_config(
            tmp_path,
            operators={"llm_mutate": 1},
            llm={"endpoints": [endpoint]},
            budget={"variants": 2},
            slots=1,
        )
        run_here(config, tmp_path / "c")
        asked = len(server.requests)
        kept = Folder(tmp_path / "c").config
        kept.write_text(kept.read_text().replace("variants: 2", "variants: 4"))
        run_here(kept, tmp_path / "c")
    assert probed == ["json_schema"]
    later = [one.body.get("response_format", {}) for one in server.requests[asked:]]
    assert later and all(one["json_schema"]["name"] == "edit" for one in later)
