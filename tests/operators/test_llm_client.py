"""The client against a real HTTP server with scripted faults: bounded, recorded, within its budget."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from operators.llm.accounting import NoCallLog
from operators.llm.answer import Message, Reply, estimate_tokens, one_line, scrub
from operators.llm.breaker import Patience
from operators.llm.client import LlmClient
from operators.llm.settings import Endpoint, LlmSettings, missing_keys
from operators.operator import ProposalFailed
from population.types import LlmCall
from tests.operators.fake_budgets import FakeCallLog, FakeTokenBudget
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow, Script

KEY = "secret-key-0123456789"
MESSAGES = (Message("system", "be brief"), Message("user", "improve this"))


class Bench:
    """A client, its budget and its records."""

    def __init__(
        self,
        server: FakeOpenAI | str,
        *,
        budget: FakeTokenBudget | None = None,
        stopping: Callable[[], bool] = lambda: False,
        attempts: int = 3,
        environ: dict[str, str] | None = None,
        **endpoint: Any,
    ) -> None:
        url = server if isinstance(server, str) else server.base_url
        endpoint = {"timeout_seconds": 60, "max_tokens": 1000, "reply": "text"} | endpoint
        settings = LlmSettings(
            endpoints=(Endpoint(name="local", model="tiny", base_url=url, **endpoint),),
        )
        self.budget, self.calls = budget or FakeTokenBudget(), list[LlmCall]()
        environ = {"OPENAI_API_KEY": KEY} if environ is None else environ
        patience = Patience(attempts, 0.02, 0.5, breaker_failures=50)
        self.client = LlmClient(
            settings, self.budget, FakeCallLog(self.calls), stopping, environ, patience=patience
        )

    def ask(self) -> Reply:
        return self.client.ask(MESSAGES, np.random.default_rng(0), 7)

    def fails(self) -> ProposalFailed:
        before = len(self.calls)
        with pytest.raises(ProposalFailed) as caught:
            self.ask()
        assert not self.budget.holds
        spent = sum(call.tokens_in for call in self.calls[before:])
        assert caught.value.cost.tokens_in == spent
        assert KEY not in str(caught.value) + repr(self.calls)
        return caught.value


def test_an_answer_comes_with_its_tokens_price_and_record() -> None:
    with FakeOpenAI(["hello"]) as server:
        bench = Bench(server, price_in=2.0, price_out=10.0, temperature=0.5)
        reply = bench.ask()
    assert (reply.text, reply.endpoint, reply.model) == ("hello", "local", "tiny")
    assert (reply.cost.tokens_in, reply.cost.tokens_out) == (100, 20)
    assert reply.cost.dollars == pytest.approx(100 * 2e-6 + 20 * 10e-6)
    (call,) = bench.calls
    assert (call.outcome, call.reply, call.proposal_number) == ("ok", "hello", 7)
    assert call.prompt == "## system\n\nbe brief\n\n## user\n\nimprove this"
    assert bench.budget.spent_tokens == 120 and not bench.budget.holds
    (asked,) = server.requests
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["model"] == "tiny"
    assert (asked.body["max_tokens"], asked.body["temperature"]) == (1000, 0.5)


def test_an_unknown_price_stays_unknown() -> None:
    with FakeOpenAI(["hello"]) as server:
        bench = Bench(server, price_in=2.0)
        assert bench.ask().cost.dollars is None
    assert server.requests[0].body["max_tokens"] == 1000
    assert "temperature" not in server.requests[0].body


@pytest.mark.parametrize(
    "fault",
    [
        Answer(status=500),
        Answer(status=503, body=b"<html>bad gateway</html>", content_type="text/html"),
        Answer(status=429),
        Answer(status=429, headers={"retry-after": "0.2"}),
        Answer(status=429, headers={"retry-after": formatdate(time.time(), usegmt=True)}),
        Answer(status=429, headers={"retry-after": "soon"}),
        Answer(hang_up=True),
    ],
)
def test_a_passing_fault_is_tried_again_and_recorded(fault: Answer) -> None:
    with FakeOpenAI(["well", fault, "hello"]) as server:
        bench = Bench(server)
        bench.ask()
        reply = bench.ask()
    assert reply.text == "hello"
    assert [call.outcome == "ok" for call in bench.calls] == [True, False, True]
    assert (reply.cost.tokens_in, reply.cost.tokens_out) == (100, 20)
    if fault.headers.get("retry-after") == "0.2":  # no upper bound: a busy machine waits longer
        assert server.requests[2].at - server.requests[1].at >= 0.2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Answer("context too long", status=400), "HTTP 400: context too long"),
        (Answer("Incorrect API key provided: sk-abc***xyz", status=401), "HTTP 401.*\\[key\\]"),
        (Answer("no model tiny", status=404), "HTTP 404: no model tiny"),
        (Answer(status=429, headers={"retry-after": "3600"}), "asks to wait 3600 s"),
        (
            Answer(status=429, body=b'{"error": {"message": "q", "code": "insufficient_quota"}}'),
            "HTTP 429: q",
        ),
        (Answer(refusal="I will not"), "refused: I will not"),
        (Answer("half", finish_reason="length"), "cut off at max_tokens = 1000"),
        (Answer("", finish_reason="content_filter"), "content filter"),
        (Answer(""), "answered nothing"),
        (Answer(None), "answered nothing"),
        (Answer(body=b'{"choices": []}'), "no choices"),
        (Answer(body=b'{"error": "overloaded"}'), "the server says: overloaded"),
        (Answer(body=b"[1, 2]"), "no choices"),
        (Answer(body=b"{broken", content_type="text/plain"), "text/plain that is not JSON"),
        (
            Answer(body=b"<html>hi</html>", content_type="text/html; charset=utf-8"),
            "text/html that is not JSON .*/v1",
        ),
        (Answer(body=b"[" * 100_000), "not JSON"),
        (Answer(body=b"x" * 10_000_000), "larger than 4 MB"),
    ],
)
def test_a_lasting_fault_fails_at_once_with_a_clear_reason(fault: Answer, words: str) -> None:
    with FakeOpenAI(["well", fault]) as server:
        bench = Bench(server)
        bench.ask()
        failed = bench.fails()
    assert len(server.requests) == len(bench.calls) == 2
    assert re.search(words, failed.reason)
    assert failed.reason.startswith("local: ") and len(failed.reason) < 400
    assert len(bench.calls[1].reply) <= 2000


def test_retries_are_bounded() -> None:
    with FakeOpenAI(["well", Answer(status=500)]) as server:
        bench = Bench(server)
        bench.ask()
        failed = bench.fails()
    assert len(server.requests) == 1 + 3
    assert failed.reason == "local: HTTP 500: scripted fault (3 attempts)"


def test_a_server_that_is_not_there_is_said_so() -> None:
    bench = Bench("http://127.0.0.1:9/v1")
    assert bench.fails().reason == (
        "local: the server cannot be reached: nothing listens at 127.0.0.1:9 (3 attempts)"
    )
    assert bench.budget.spent_tokens == 0


@pytest.mark.parametrize("fault", [Answer("late", delay=60), Answer("slow", drip_seconds=0.05)])
def test_an_answer_that_takes_too_long_is_given_up_and_booked_as_held(fault: Answer) -> None:
    with FakeOpenAI([fault]) as server:
        bench = Bench(server, timeout_seconds=0.4, attempts=1)
        failed = bench.fails()
    assert failed.reason == "local: no whole answer within 0.4 s"
    assert bench.budget.spent_tokens == failed.cost.tokens_in + 1000 > 1000


@pytest.mark.parametrize("fault", [Answer("late", delay=250), Answer(status=500)])
def test_stopping_ends_a_call_and_a_wait_at_once(fault: Answer) -> None:
    stop = threading.Event()

    def stops(asked: RequestRow) -> Answer:
        stop.set()  # while it is waited for, or before the next attempt
        return fault

    with FakeOpenAI(stops) as server:
        bench = Bench(server, stopping=stop.is_set, attempts=10, timeout_seconds=200)
        assert "the campaign is stopping" in bench.fails().reason
        asked = len(server.requests), len(bench.calls)
        assert "the campaign is stopping" in bench.fails().reason
        assert (len(server.requests), len(bench.calls)) == asked  # it asks no more


def test_the_budget_counts_calls_in_flight_and_is_never_overdrawn() -> None:
    hold = estimate_tokens("## system\n\nbe brief\n\n## user\n\nimprove this") + 1000
    usage = {"prompt_tokens": hold - 1000, "completion_tokens": 1000}
    budget = FakeTokenBudget(tokens=hold * 3)
    with FakeOpenAI([Answer("hello", delay=0.3, usage=usage)]) as server:
        bench = Bench(server, budget=budget)

        def one(_: int) -> str:
            try:
                return bench.ask().text
            except ProposalFailed as failed:
                return failed.reason

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(one, range(8)))
    assert answers.count("hello") == 3 == len(server.requests) == len(bench.calls)
    assert answers.count("local: the budget for language models is used up") == 5
    assert budget.left == 0 and not budget.holds


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": "many"}])
def test_tokens_are_estimated_where_the_server_tells_none(usage: dict[str, Any] | None) -> None:
    with FakeOpenAI([Answer("hello" * 100, usage=usage), "hello"]) as server:
        bench = Bench(server)
        cost = bench.ask().cost
        bench.ask()
    assert cost.tokens_in > 5 and cost.tokens_out >= 100
    assert [call.estimated for call in bench.calls] == [True, False], "and marked"


def test_a_key_never_reaches_a_record() -> None:
    echo = f"the key is {KEY}\ud800"
    with FakeOpenAI([Answer(echo), Answer(echo, status=403)]) as server:
        bench = Bench(server)
        assert bench.ask().text == "the key is [key]?"
        bench.fails()
    assert bench.calls[0].reply == "the key is [key]?"
    assert KEY not in json.dumps([call.outcome for call in bench.calls])


def test_a_missing_key_is_named_before_anything_is_sent() -> None:
    with FakeOpenAI(["hello"]) as server:
        bench = Bench(server, environ={})
        assert bench.fails().reason == "local: the environment variable OPENAI_API_KEY holds no key"
        assert Bench(server, environ={}, key_env="").ask().text == "hello"
    assert len(server.requests) == 1


def test_the_base_url_comes_from_the_environment_when_the_endpoint_names_none() -> None:
    with FakeOpenAI(["hello"]) as server:
        environ = {"OPENAI_API_KEY": f"{KEY}\n", "OPENAI_BASE_URL": server.base_url}
        settings = LlmSettings(endpoints=(Endpoint(name="a", model="b"),))
        client = LlmClient(settings, FakeTokenBudget(), NoCallLog(), environ=environ)
        assert client.ask(MESSAGES, np.random.default_rng(0)).text == "hello"
    assert missing_keys(settings, {}) == ("OPENAI_API_KEY",)
    assert missing_keys(settings, environ) == ()


def test_endpoints_are_drawn_evenly_or_named() -> None:
    script: Script = lambda asked: asked.body["model"]  # noqa: E731
    with FakeOpenAI(script) as server:
        endpoints = tuple(
            Endpoint(name=name, model=name, base_url=server.base_url) for name in ("one", "other")
        )
        environ = {"OPENAI_API_KEY": KEY}
        settings = LlmSettings(endpoints=endpoints)
        client = LlmClient(settings, FakeTokenBudget(), NoCallLog(), environ=environ)
        rng = np.random.default_rng(0)
        drawn = [client.ask(MESSAGES, rng).text for _ in range(40)]
        assert client.ask(MESSAGES, rng, endpoint="other").text == "other"
    assert 10 < drawn.count("other") < 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoints": []},
        {"endpoints": [{"name": "a", "model": "b", "modle": "c"}]},
        {"endpoints": [{"name": "a", "model": "b"}] * 2},
        {"endpoints": [{"name": "a", "model": "b", "price_in": -1}]},
        {"endpoints": [{"name": "a", "model": "b"}], "notes_every": -1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LlmSettings.model_validate(wrong)


def test_texts_are_cleaned_for_storage() -> None:
    assert scrub("Bearer sk-proj-abcdefgh and x", ["x"]) == "Bearer [key] and x"
    assert one_line("a\x1b[31m\nb\u202e " + "c" * 50, 10) == "a [31m b …"
