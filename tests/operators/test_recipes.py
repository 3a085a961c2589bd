"""The recipes of docs/models.md, each against a scripted server that behaves like the one it is for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import yaml

from operators.llm.breaker import Patience
from operators.llm.client import LlmClient
from operators.llm.json_answer import plain_answer
from operators.llm.response_formats import PROBE, Form
from operators.llm.settings import LlmSettings
from operators.llm_operators import LlmMutate
from operators.source.knobs import with_knobs
from population.types import LlmCall
from tests.operators.fake_budgets import FakeCallLog, FakeTokenBudget
from tests.operators.fake_openai import DONE, Answer, FakeOpenAI, RequestRow, delta, event
from tests.operators.samples import SMALL, request
from tests.operators.test_llm_client import MESSAGES

KEY = "sk-recipe-0123456789"
PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
RECIPES: dict[str, dict[str, Any]] = {
    name.split(",")[0]: yaml.safe_load(text)["llm"]
    for name, text in re.findall(r"^## (.+?)\n\n```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
}
EDIT = {"idea": "a warmer start", "idea_number": 0, "edits": [], "file": "WARMUP = 1"}


def said(asked: RequestRow) -> str:
    """What a model says in the form that it is asked for."""
    if asked.prompt == PROBE:
        return '{"ok": true}'
    return json.dumps(EDIT) if "response_format" in asked.body else "IDEA: a warmer start"


def refuses(asked: RequestRow, name: str, words: str, status: int = 400) -> Answer | None:
    return Answer(words, status=status) if name in asked.body else None


def key_of(asked: RequestRow) -> str:
    return asked.headers.get("authorization", "").removeprefix("Bearer ")


def openai(asked: RequestRow) -> Answer:
    assert key_of(asked) == KEY and asked.body["reasoning_effort"] == "low"
    words = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead."
    )
    usage = {
        "prompt_tokens": 30, "completion_tokens": 320, "total_tokens": 350,
        "completion_tokens_details": {"reasoning_tokens": 300},
    }  # fmt: skip
    return refuses(asked, "max_tokens", words) or Answer(said(asked), usage=usage)


def azure(asked: RequestRow) -> Answer:
    url = urlsplit(asked.path)
    assert url.path == "/openai/deployments/my-deployment/chat/completions"
    assert parse_qs(url.query) == {"api-version": ["2024-10-21"]}
    if asked.headers.get("api-key") != KEY:
        return Answer("Access denied due to invalid subscription key", status=401)
    return Answer(said(asked))


def openrouter(asked: RequestRow) -> Answer:
    assert asked.path == "/api/v1/chat/completions" and key_of(asked) == KEY
    assert asked.body["usage"] == {"include": True}
    usage = {"prompt_tokens": 30, "completion_tokens": 20, "cost": 0.002}
    parts = [
        b": OPENROUTER PROCESSING\n\n",
        delta(reasoning="hm", content=""),
        b": OPENROUTER PROCESSING\n\n",
        delta(content=said(asked)),
        delta(finish="stop", content=""),
        event({"choices": [], "usage": usage}),
        DONE,
    ]
    return Answer(events=lambda: iter(parts))


def gemini(asked: RequestRow) -> Answer:
    assert asked.path == "/v1beta/openai/chat/completions" and key_of(asked) == KEY
    usage = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 350}
    return Answer(said(asked), usage=usage)


def mistral(asked: RequestRow) -> Answer:
    assert asked.path == "/v1/chat/completions" and key_of(asked) == KEY
    if "stream_options" in asked.body:
        body = {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"],
                            "msg": "Extra inputs are not permitted"}]}  # fmt: skip
        return Answer(status=422, body=json.dumps(body).encode())
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "IDEA: a colder one"}]}
    message = {"content": [thinking, {"type": "text", "text": said(asked)}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
    return Answer(body=json.dumps({"choices": [choice], "usage": usage}).encode())


def vllm(asked: RequestRow) -> Answer:
    assert asked.path == "/v1/chat/completions"
    assert asked.body["chat_template_kwargs"] == {"enable_thinking": False}
    assert asked.body["top_k"] == 20
    parts = [
        delta(role="assistant", content=""),
        delta(reasoning_content="hm"),
        delta(content=said(asked)),
        delta(finish="stop", content=""),
        event({"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 20}}),
        DONE,
    ]
    return Answer(events=lambda: iter(parts))


def llama_cpp(asked: RequestRow) -> Answer:
    assert asked.path in ("/chat/completions", "/v1/chat/completions")
    return Answer(said(asked))


def lm_studio(asked: RequestRow) -> Answer:
    form = asked.body.get("response_format", {}).get("type", "text")
    if form not in ("json_schema", "text"):
        return Answer("'response_format.type' must be 'json_schema' or 'text'", status=400)
    return Answer(said(asked))


def ollama(asked: RequestRow) -> Answer:
    if not asked.path.startswith("/v1/"):
        body = b"404 page not found"
        return Answer(status=404, body=body, content_type="text/plain")
    assert asked.body["temperature"] == 0.7
    return Answer(said(asked))


def small(asked: RequestRow) -> Answer:
    """Decodes by the schema that it is sent: the first of what it may say, everywhere."""
    if asked.prompt == PROBE:
        return Answer('{"ok": true}')
    schema = asked.body["response_format"]["json_schema"]["schema"]
    edits = schema["properties"]["edits"]["items"]
    if "anyOf" not in edits:  # about no file
        return Answer(json.dumps(EDIT))
    line, value = (edits["anyOf"][0]["properties"][name] for name in ("line", "value"))
    edit = {"line": line["const"], "value": value["enum"][0]}
    return Answer(json.dumps({"idea": "a warmer start", "idea_numbers": [], "edits": [edit]}))


SERVERS: dict[str, Callable[[RequestRow], Answer]] = {
    "OpenAI": openai,
    "Azure": azure,
    "OpenRouter": openrouter,
    "Gemini": gemini,
    "Mistral": mistral,
    "vLLM": vllm,
    "llama.cpp": llama_cpp,
    "LM Studio": lm_studio,
    "Ollama": ollama,
    "A small local model": small,
}


def test_every_recipe_has_its_server() -> None:
    assert set(RECIPES) == set(SERVERS)


@pytest.mark.parametrize("name", SERVERS)
def test_a_recipe_works_with_a_server_that_behaves_like_its_own(name: str) -> None:
    with FakeOpenAI(SERVERS[name], forms=True) as server:
        settings, client, calls = client_for(name, server)
        replies = [client.ask(MESSAGES, np.random.default_rng(0), n) for n in (1, 2)]
        asked = len(server.requests)
        found = client.examine(settings.endpoints[0])
    assert {plain_answer(one.text).splitlines()[0] for one in replies} == {"IDEA: a warmer start"}
    (one,) = settings.endpoints
    assert found.form is (Form.SCHEMA if one.reply == "auto" else Form(one.reply))
    assert found.answered is not None
    assert [call.outcome for call in calls[-3:]] == ["ok"] * 3
    failed = [call for call in calls if call.outcome != "ok"]
    assert len(failed) <= 1, "what a server refuses is learned once"
    assert asked <= 4


def test_a_small_local_model_is_sent_the_lines_of_the_parent_and_its_answer_is_an_edit() -> None:
    with FakeOpenAI(SERVERS["A small local model"], forms=True) as server:
        _, client, _ = client_for("A small local model", server)
        draft = LlmMutate(client).propose(request(SMALL))
        (asked,) = server.requests
    assert (draft.source, draft.idea) == (
        with_knobs(SMALL, {"MATRIX_LR": 0.0025}),
        "a warmer start",
    )
    assert asked.body["max_tokens"] == 600 and '"line":' in asked.body["messages"][0]["content"]


def test_what_thinking_costs_is_booked_and_what_a_router_says_counts() -> None:
    booked = {}
    for name in ("OpenAI", "Gemini", "OpenRouter"):
        with FakeOpenAI(SERVERS[name], forms=True) as server:
            _, client, _ = client_for(name, server)
            booked[name] = client.ask(MESSAGES, np.random.default_rng(0), 1).cost
    assert booked["OpenAI"].tokens_out == 2 * 320 and booked["Gemini"].tokens_out == 2 * 320
    assert booked["OpenRouter"].dollars == pytest.approx(2 * 0.002)


def client_for(name: str, server: FakeOpenAI) -> tuple[LlmSettings, LlmClient, list[LlmCall]]:
    """A recipe's client, its server's host replaced by the scripted one's."""
    (one,) = RECIPES[name]["endpoints"]
    host, address = urlsplit(server.base_url).netloc, one.get("base_url")
    url = server.base_url
    if address is not None:
        url = re.sub(r"^((?:https?://)?)[^/]+", host, address)
    settings = LlmSettings.model_validate({"endpoints": [{**one, "base_url": url}]})
    keys = {
        "OPENAI_API_KEY": KEY, "AZURE_OPENAI_API_KEY": KEY, "OPENROUTER_API_KEY": KEY,
        "GEMINI_API_KEY": KEY, "MISTRAL_API_KEY": KEY,
    }  # fmt: skip
    calls: list[LlmCall] = []
    budget, patience = FakeTokenBudget(), Patience(3, 0.02, 0.5, breaker_failures=50)
    client = LlmClient(settings, budget, FakeCallLog(calls), environ=keys, patience=patience)
    return settings, client, calls
