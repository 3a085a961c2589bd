"""Streamed answers over a real connection: put together, cut where they must be, or not asked for at all."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from operators.llm import stream, wire
from operators.llm.answer import Message, Reply
from operators.llm.breaker import Patience
from operators.llm.client import LlmClient
from operators.llm.settings import LlmSettings
from operators.operator import ProposalFailed
from population.types import LlmCall
from tests.operators.fake_budgets import FakeCallLog, FakeTokenBudget
from tests.operators.fake_openai import DONE, Answer, Cut, FakeOpenAI, RequestRow, delta, event

MESSAGES = (Message("user", "improve this"),)
USAGE = event({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}})
TEXT = "Grüße, 世界 \N{SNOWMAN} 🙂\n" * 9


class Bench:
    """A client of one server that rests after a single failure."""

    def __init__(
        self,
        server: FakeOpenAI,
        stopping: Callable[[], bool] = lambda: False,
        attempts: int = 1,
        rest_after: int = 1,
        idle_seconds: float = 60,
        **more: Any,
    ) -> None:
        endpoint = {"name": "local", "model": "tiny", "base_url": server.base_url, "key_env": ""}
        endpoint |= {"timeout_seconds": 60, "max_tokens": 1000, "reply": "text"} | more
        patience = Patience(
            attempts, 0.0, breaker_failures=rest_after, stream_idle_seconds=idle_seconds
        )
        settings = LlmSettings.model_validate({"endpoints": [endpoint]})
        self.budget, self.calls = FakeTokenBudget(), list[LlmCall]()
        self.client = LlmClient(
            settings, self.budget, FakeCallLog(self.calls), stopping, environ={}, patience=patience
        )

    def ask(self) -> Reply:
        return self.client.ask(MESSAGES, np.random.default_rng(0), 7)

    def fails(self) -> str:
        with pytest.raises(ProposalFailed) as caught:
            self.ask()
        assert not self.budget.holds
        return caught.value.reason.removeprefix("local: ")


def streamed(*parts: bytes) -> Answer:
    """A stream that goes over the wire in exactly these parts."""
    return Answer(events=lambda: iter(parts))


def broken(*parts: bytes) -> Answer:
    """A stream whose connection ends after these parts."""

    def events() -> Iterator[bytes]:
        yield from parts
        raise Cut

    return Answer(events=events)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_an_answer_comes_in_pieces_with_the_servers_own_count_of_tokens() -> None:
    with FakeOpenAI([TEXT]) as server:
        bench = Bench(server, price_in=2.0, price_out=10.0)
        reply = bench.ask()
    (asked,) = server.requests
    assert asked.body["stream"] is True and asked.body["stream_options"] == {"include_usage": True}
    assert reply.text == TEXT
    assert (reply.cost.tokens_in, reply.cost.tokens_out) == (100, 20)
    assert reply.cost.dollars == pytest.approx(100 * 2e-6 + 20 * 10e-6)
    assert [(one.outcome, one.reply) for one in bench.calls] == [("ok", TEXT)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_characters_and_events_may_be_split_anywhere(size: int) -> None:
    wire = b": hello\n\n" + delta(content="", role="assistant")
    wire += b"".join(delta(content=mark) for mark in TEXT[:40]) + b": still here\r\n\r\n"
    wire += b"event: message\r\nid: 3\r\n" + delta(finish="stop").replace(b"\n", b"\r\n")
    wire += USAGE + DONE
    parts = [wire[at : at + size] for at in range(0, len(wire), size)]
    with FakeOpenAI([streamed(*parts)]) as server:
        reply = Bench(server).ask()
    assert reply.text == TEXT[:40] and reply.cost.tokens_out == 20


ODD = (
    b"data: [1, 2]\n\n",
    b"data: null\n\n",
    event({"choices": None, "usage": None}),
    event({"choices": ["x"]}),
    event({"choices": [{"delta": None, "finish_reason": 3}]}),
    event({"choices": [{"delta": {"content": 7, "tool_calls": []}}]}),
    event({"choices": [{"delta": {"reasoning_content": "let me think"}}]}),
)


def test_odd_chunks_and_thoughts_are_passed_over_and_a_missing_count_is_estimated() -> None:
    parts = [*ODD, *(delta(content=mark) for mark in "IDEA: x"), delta(finish="stop")]
    with FakeOpenAI([streamed(*parts)]) as server:  # without usage, and without [DONE]
        reply = Bench(server).ask()
    assert reply.text == "IDEA: x"
    assert reply.cost.tokens_in > 5
    assert reply.cost.tokens_out >= 8  # at least one a piece, the thoughts too


def test_an_answer_whose_end_was_told_is_whole_though_the_connection_breaks_then() -> None:
    with FakeOpenAI([broken(delta(content="hello"), delta(finish="stop"))]) as server:
        assert Bench(server).ask().text == "hello"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(refusal="I will not"), "refused: I will not"),
        (Answer("half", finish_reason="length"), "cut off at max_tokens = 1000"),
        (Answer("", finish_reason="content_filter"), "content filter"),
        (Answer(""), "answered nothing"),
    ],
)
def test_a_stream_without_a_usable_answer_says_why_and_is_billed(
    answer: Answer, words: str
) -> None:
    with FakeOpenAI([answer]) as server:
        bench = Bench(server)
        assert words in bench.fails()
    assert bench.budget.spent_tokens == 120 and len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (broken(delta(content="half an ans")), "broke off in the middle"),
        (streamed(delta(content="half an ans")), "broke off in the middle (no finish_reason)"),
        (streamed(delta(content="half an ans"), b"data: {\n\n"), "broke off in the middle"),
        (streamed(delta(content="half an ans"), b"data: \xff\n\n"), "broke off in the middle"),
        (
            streamed(delta(content="half an ans"), event({"error": {"message": "overloaded"}})),
            "the server says: overloaded",
        ),
        (broken(), "broke off before it began"),
        (streamed(), "broke off before it began"),
    ],
)
def test_a_stream_that_breaks_off_is_booked_as_held_and_asked_again(
    answer: Answer, words: str
) -> None:
    with FakeOpenAI([answer]) as server:
        bench = Bench(server)
        reason = bench.fails()
        assert words in reason
        (call,) = bench.calls
        held = call.tokens_in + 1000
        assert bench.budget.spent_tokens == held > 1000 == call.tokens_out
        assert call.reply == ("" if "before" in reason else "half an ans")
    with FakeOpenAI([answer, "hello"]) as server:
        assert Bench(server, attempts=2, rest_after=2).ask().text == "hello"


# -- an end to what does not end ---------------------------------------------------------------------


def endless(pause: float, part: bytes) -> Answer:
    def events() -> Iterator[bytes]:
        yield delta(content="IDEA: ")
        while True:
            time.sleep(pause)
            yield part

    return Answer(events=events)


def test_an_answer_far_beyond_its_limit_is_cut_off_and_the_server_is_left() -> None:
    with FakeOpenAI([endless(0, delta(content="and on " * 10))]) as server:
        bench = Bench(server, max_tokens=100)
        assert bench.fails() == "the answer went on far beyond max_tokens = 100 and was cut off"
        assert wait_until(lambda: server.left_alone == 1)
    (call,) = bench.calls
    assert call.tokens_out >= 200 and call.reply.startswith("IDEA: and on")  # more than was held
    assert bench.budget.spent_tokens == call.tokens_in + call.tokens_out


@pytest.mark.parametrize("part", [b": keep-alive\n\n", event({"choices": []}), b"x"])
def test_a_model_that_falls_silent_is_given_up_before_the_time_out(part: bytes) -> None:
    with FakeOpenAI([endless(0.05, part)]) as server:
        bench = Bench(server, idle_seconds=0.3, timeout_seconds=200)
        assert bench.fails() == "the answer stopped in the middle: nothing for 0.3 s"
        assert wait_until(lambda: server.left_alone == 1)
    assert bench.calls[0].tokens_out == 1000 and bench.calls[0].reply == "IDEA: "


class FakeClock:
    """The clock of the wire and of what it hears, which a server's script moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        for module in (stream, wire):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now


def test_a_model_may_be_silent_for_longer_before_its_first_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock(monkeypatch)

    def events() -> Iterator[bytes]:
        yield delta(role="assistant", content="")
        clock.now += 50
        time.sleep(3 * wire.POLL_SECONDS)  # somebody looks at the clock meanwhile
        yield from (delta(content="hello"), delta(finish="stop"), USAGE, DONE)

    with FakeOpenAI([Answer(events=events)]) as server:
        assert Bench(server, idle_seconds=10).ask().text == "hello"


def test_a_steady_answer_that_takes_too_long_is_given_up_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock(monkeypatch)

    def events() -> Iterator[bytes]:
        for part in endless(0.02, delta(content="and")).events():  # type: ignore[misc]
            yield part
            clock.now += 1

    with FakeOpenAI([Answer(events=events)]) as server:
        bench = Bench(server, timeout_seconds=50)
        assert bench.fails() == "no whole answer within 50 s"
        assert wait_until(lambda: server.left_alone == 1)
    assert bench.calls[0].reply.startswith("IDEA: and")


def test_stopping_ends_a_stream_at_once_and_the_server_need_not_go_on() -> None:
    stop = threading.Event()

    def events() -> Iterator[bytes]:
        for number, part in enumerate(endless(0.02, delta(content="and")).events()):  # type: ignore[misc]
            yield part
            if number == 10:
                stop.set()

    with FakeOpenAI([Answer(events=events)]) as server:
        bench = Bench(server, stop.is_set, timeout_seconds=200)
        assert bench.fails() == "the campaign is stopping"
        assert wait_until(lambda: server.left_alone == 1)
    assert bench.budget.spent_tokens > 1000 and bench.calls[0].reply.startswith("IDEA: and")


# -- servers that do not stream ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("field", ["stream", "stream_options"])
def test_a_refused_field_is_left_out_from_then_on_and_is_no_failure(
    field: str, status: int
) -> None:
    with FakeOpenAI(["hello"], refuses={field: status}) as server:
        bench = Bench(server)
        replies = [bench.ask() for _ in range(3)]
        assert not bench.client.is_unavailable()  # though a single failure would make it rest
    assert len(server.refused) == 1
    assert len(server.requests) == 3 and len(bench.calls) == 4  # the refused one is on record, too
    assert all(("stream" in one.body) is (field == "stream_options") for one in server.requests)
    assert not any("stream_options" in one.body for one in server.requests)
    assert {reply.text for reply in replies} == {"hello"}
    outcomes = [one.outcome for one in bench.calls]
    assert outcomes[0].startswith(f"HTTP {status}") and outcomes[1:] == ["ok"] * 3
    assert replies[0].cost.tokens_in > 5


def test_threads_that_ask_at_once_all_learn_that_a_field_is_refused() -> None:
    with FakeOpenAI(lambda asked: Answer("hello", delay=0.05), refuses={"stream": 400}) as server:
        bench = Bench(server)
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(lambda _: bench.ask().text, range(24)))
    assert replies == ["hello"] * 24 and not bench.client.is_unavailable()


def test_a_500_that_names_nothing_turns_streaming_off_only_when_it_comes_again() -> None:
    refusals: list[RequestRow] = []

    def script(asked: RequestRow) -> str | Answer:
        if "stream" in asked.body and len(refusals) < 2:
            refusals.append(asked)
            return Answer("internal error", status=500)
        return "hello"

    with FakeOpenAI(script) as server:
        bench = Bench(server)
        assert {bench.ask().text for _ in range(4)} == {"hello"}
    assert ["stream" in one.body for one in server.requests] == [1, 0, 1, 0, 0, 0]
    assert len(bench.calls) == 6 and bench.budget.spent_tokens == 4 * 120


def test_an_accident_of_a_server_that_streams_does_not_turn_streaming_off() -> None:
    answers = itertools.chain([Answer(status=500)], itertools.repeat(Answer("hello")))
    with FakeOpenAI(lambda asked: next(answers)) as server:
        bench = Bench(server)
        assert {bench.ask().text for _ in range(3)} == {"hello"}
    assert ["stream" in one.body for one in server.requests] == [1, 0, 1, 1]


def test_of_a_server_that_refuses_everything_nothing_is_remembered() -> None:
    faults = [Answer(status=400), Answer(status=400), Answer(status=500)]
    answers = itertools.chain(faults, itertools.repeat(Answer("hello")))
    with FakeOpenAI(lambda asked: next(answers)) as server:
        bench = Bench(server, rest_after=9)
        assert "HTTP 400" in bench.fails()
        assert {bench.ask().text for _ in range(2)} == {"hello"}
    assert ["stream" in one.body for one in server.requests] == [1, 0, 1, 0, 1]


def test_a_server_that_answers_whole_though_asked_to_stream_is_heard() -> None:
    body = Answer("hello").payload("tiny")
    with FakeOpenAI([Answer(body=body)]) as server:
        reply = Bench(server).ask()
    assert reply.text == "hello" and reply.cost.tokens_out == 20
