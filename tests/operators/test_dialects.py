"""What servers send in place of a plain completion: other fields, errors inside a 200, odd bills."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from operators.llm.answer import Usage
from operators.llm.completion import read_usage, wait_asked
from operators.operator import ProposalFailed
from tests.operators.fake_budgets import FakeTokenBudget
from tests.operators.fake_openai import DONE, Answer, FakeOpenAI, delta, event
from tests.operators.test_llm_client import Bench

THOUGHT = "Maybe IDEA: wider. No, that was tried."
EDIT = "IDEA: warmer\nLR = 0.1"
WHOLE: list[dict[str, Any]] = [
    {"message": {"content": [{"type": "text", "text": "IDEA: warmer\n"}, {"text": "LR = 0.1"}]}},
    {"message": {"content": {"type": "text", "text": {"value": EDIT}}}},
    {"message": {"content": ["IDEA: warmer\n", "LR = 0.1"]}},
    {
        "message": {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
                {"type": "text", "text": EDIT},
            ]
        }
    },
    {"message": {"content": EDIT, "reasoning_content": THOUGHT, "reasoning": THOUGHT}},
    {"message": {"content": None, "reasoning_content": EDIT}},
    {"message": {"content": "", "reasoning": f"{THOUGHT}</think>{EDIT}"}},
    {"text": EDIT},
    {"delta": {"content": EDIT}},
    {"message": {"content": EDIT}, "finish_reason": None},
    {"message": {"content": EDIT, "tool_calls": []}, "finish_reason": "STOP"},
]


def completion(choice: dict[str, Any], **more: Any) -> Answer:
    whole = {"choices": [{"finish_reason": "stop", **choice}], "usage": USAGE}
    return Answer(body=json.dumps({**whole, **more}).encode())


USAGE = {"prompt_tokens": 100, "completion_tokens": 20}


@pytest.mark.parametrize("choice", WHOLE)
def test_an_answer_is_found_wherever_a_server_puts_it(choice: dict[str, Any]) -> None:
    with FakeOpenAI([completion(choice)]) as server:
        assert Bench(server).ask().text == EDIT


@pytest.mark.parametrize("choice", WHOLE)
@pytest.mark.parametrize("size", [5, 10_000])
def test_and_so_it_is_in_a_stream(choice: dict[str, Any], size: int) -> None:
    last = event({"choices": [{"index": 0, "finish_reason": "stop", **choice}], "usage": USAGE})
    wire = b": PROCESSING\n\n" + delta(role="assistant", content="") + last + DONE
    parts = [wire[at : at + size] for at in range(0, len(wire), size)]
    for kind in ("", "text/plain", "application/json", "application/octet-stream"):
        answer = Answer(events=lambda: iter(parts), stream_type=kind)
        with FakeOpenAI([answer]) as server:
            assert Bench(server).ask().text == EDIT


def pieces(*choices: dict[str, Any], end: bytes = b"") -> Answer:
    return Answer(events=lambda: iter([*(event({"choices": [one]}) for one in choices), end]))


@pytest.mark.parametrize(
    "answer",
    [
        pieces({"message": {"content": "IDEA: warmer\n"}}, {"message": {"content": "LR = 0.1"}},
               {"finish_reason": "stop"}),
        pieces({"message": {"content": "IDEA: warmer\nLR = 0"}},  # all that was said so far, each time
               {"message": {"content": "IDEA: warmer\nLR = 0.1"}, "finish_reason": "stop"}),
        pieces({"delta": {"content": EDIT}},
               {"delta": {}, "message": {"content": EDIT}, "finish_reason": "stop"}),
        pieces({"text": "IDEA: warmer\n"}, {"text": "LR = 0.1", "finish_reason": "stop"}),
        pieces({"delta": {"content": [{"type": "thinking", "thinking": THOUGHT}]}},
               {"delta": {"content": [{"type": "text", "text": EDIT}]}, "finish_reason": "stop"}),
        pieces({"delta": {"reasoning": THOUGHT}}, {"delta": {"content": EDIT}}, end=DONE),
    ],
)  # fmt: skip
def test_pieces_are_put_together_whatever_they_are_called(answer: Answer) -> None:
    with FakeOpenAI([answer]) as server:
        assert Bench(server).ask().text == EDIT


def called(*arguments: str) -> list[dict[str, Any]]:
    return [
        {"index": number, "function": {"name": "edit", "arguments": one}}
        for number, one in enumerate(arguments)
    ]


def test_the_arguments_of_a_single_tool_call_are_the_answer_and_of_several_none_is() -> None:
    given = json.dumps({"idea": "warmer", "edits": []})
    whole = completion({"message": {"content": None, "tool_calls": called(given)}})
    old = completion({"message": {"content": None, "function_call": {"arguments": given}}})
    halves = [
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": one}}]}}
        for one in (given[:9], given[9:])
    ]
    streamed = pieces(*halves, {"finish_reason": "tool_calls"})
    for answer in (whole, old, streamed):
        with FakeOpenAI([answer]) as server:
            assert Bench(server).ask().text == given
    both = completion({"message": {"content": None, "tool_calls": called(given, given)}})
    with FakeOpenAI([both]) as server:
        assert "nothing but calls of tools" in Bench(server).fails().reason


def test_thoughts_are_no_answer_and_the_field_that_held_them_is_named() -> None:
    with FakeOpenAI([completion({"message": {"content": "", "reasoning": THOUGHT}})]) as server:
        reason = Bench(server).fails().reason
    assert (
        reason == "local: the model answered nothing: 38 characters of thoughts stand in reasoning"
    )
    cut = {"message": {"content": "", "reasoning_content": THOUGHT}, "finish_reason": "MAX_TOKENS"}
    with FakeOpenAI([completion(cut)]) as server:
        assert "cut off at max_tokens = 1000 by thoughts alone" in Bench(server).fails().reason


# -- errors inside a 200 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 429, "message": "slow down"}},
        {"error": {"code": "429", "message": "slow down"}},
        {"error": {"type": "rate_limit_exceeded", "message": "slow down"}},
        {"error": {"code": 503, "message": "slow down"}, "choices": []},
        {"error": {"status": "RESOURCE_EXHAUSTED", "message": "slow down"}},
        {"object": "error", "code": 502, "message": "slow down"},
        [{"error": {"code": 429, "message": "slow down"}}],
        {
            "choices": [
                {"message": {"content": "half"}, "error": {"code": 502, "message": "slow down"}}
            ]
        },
    ],
)
def test_an_error_inside_a_200_that_may_pass_is_waited_for(body: Any) -> None:
    with FakeOpenAI([Answer(body=json.dumps(body).encode()), "hello"]) as server:
        bench = Bench(server)
        assert bench.ask().text == "hello"
    assert len(server.requests) == 2 and "slow down" in bench.calls[0].outcome
    if "choices" not in body:
        assert bench.calls[0].tokens_in == 0  # nothing was answered, nothing is billed


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"code": 402, "message": "no credits"}}, "no credits \\(402\\)"),
        ({"error": {"code": 429, "type": "insufficient_quota", "message": "q"}}, "q \\(429\\)"),
        ({"error": {"code": 400, "message": "bad", "metadata": {"raw": "why"}}}, "bad: why"),
        ({"detail": [{"loc": ["body", "model"], "msg": "unknown"}]}, "model: unknown"),
    ],
)
def test_an_error_inside_a_200_that_lasts_is_said_and_not_tried_again(
    body: Any, words: str
) -> None:
    with FakeOpenAI([Answer(body=json.dumps(body).encode())]) as server:
        failed = Bench(server).fails()
    assert re.search(words, failed.reason) and len(server.requests) == 1


@pytest.mark.parametrize("finish", ["error", "abort", "insufficient_system_resource"])
@pytest.mark.parametrize("streams", [True, False])
def test_a_finish_that_is_a_fault_is_no_answer(finish: str, streams: bool) -> None:
    half = {"message": {"content": EDIT}, "finish_reason": finish}
    broken = pieces(half) if streams else completion(half)
    with FakeOpenAI([broken, "hello"]) as server:
        bench = Bench(server)
        assert bench.ask().text == "hello"
    assert bench.calls[0].tokens_out >= 1000  # what it billed is not known


def test_an_error_in_the_middle_of_a_stream_goes_by_its_code() -> None:
    for code, asked in ((429, 2), (401, 1)):
        parts = [delta(content="half"), event({"error": {"code": code, "message": "x"}})]
        with FakeOpenAI([Answer(events=lambda parts=parts: iter(parts)), "hello"]) as server:
            bench = Bench(server)
            if asked == 2:
                assert bench.ask().text == "hello"
            else:
                assert "the server says: x (401)" in bench.fails().reason
        assert len(server.requests) == asked


def test_a_wait_asked_for_in_words_is_read() -> None:
    told = {
        "Rate limit reached. Please try again in 1.5s. Visit": 1.5,
        "try again in 6m0s": 360.0,
        "Please retry in 36.4s.": 36.4,
        "try again in 20ms": 0.02,
        "please wait": None,
    }
    assert {said: wait_asked(said) for said in told} == told


OTHER_FORMS = {
    "Ollama's own API": {"message": {"content": "IDEA: x"}, "done": True},
    "Anthropic's messages": {"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"},
    "OpenAI's responses": {"object": "response", "output": []},
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_an_answer_in_the_form_of_another_api_is_named_and_not_asked_for_again(name: str) -> None:
    with FakeOpenAI([Answer(body=json.dumps(OTHER_FORMS[name]).encode())]) as server:
        with pytest.raises(ProposalFailed, match=name) as caught:
            Bench(server).ask()
        assert "base_url has to lead to chat completions" in caught.value.reason
        assert len(server.requests) == 1


def test_an_answer_without_a_word_is_called_so() -> None:
    reason = pytest.raises(ProposalFailed, match="answered nothing at all")
    with FakeOpenAI([Answer(status=204, body=b"")]) as server, reason:
        Bench(server).ask()


@pytest.mark.parametrize(
    "parts",
    [
        (b"\xef\xbb\xbf" + delta(content="IDEA: x"), delta(finish="stop", content=""), DONE),
        (b"event: message\nid: 1\n" + delta(content="IDEA: x", finish="stop"), DONE),
        (
            b'data: {"choices":\ndata: [{"delta": {"content": "IDEA: x"}, "finish_reason": "stop"}]}\n\n',
        ),
    ],
    ids=["a byte-order mark", "named events", "an event of two lines"],
)
def test_an_odd_stream_is_heard_out(parts: tuple[bytes, ...]) -> None:
    with FakeOpenAI([Answer(events=lambda: iter(parts))]) as server:
        assert Bench(server).ask().text == "IDEA: x" and len(server.requests) == 1


# -- bills -------------------------------------------------------------------------------------------

GUESS = Usage(11, 22)


@pytest.mark.parametrize(
    ("told", "tokens", "estimated"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 900}, (10, 890), False),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, (10, 5), False),
        ({"prompt_tokens": 10, "total_tokens": 900}, (10, 890), False),
        ({"completion_tokens": 5, "total_tokens": 15}, (10, 5), True),
        (
            {"prompt_tokens": 10, "completion_tokens": 5,
             "completion_tokens_details": {"reasoning_tokens": 400}},
            (10, 405), False,
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 405, "total_tokens": 415,
             "completion_tokens_details": {"reasoning_tokens": 400}},
            (10, 405), False,
        ),
        ({"input_tokens": 10, "output_tokens": 5}, (10, 5), False),
        ({"prompt_tokens": 10.0, "completion_tokens": 5.0}, (10, 5), False),
        ({}, (11, 22), True),
        ({"prompt_tokens": -1, "completion_tokens": "many"}, (11, 22), True),
        ({"prompt_tokens": 10**12, "completion_tokens": 5}, (11, 5), True),
        (None, (11, 22), True),
        ([3], (11, 22), True),
    ],
)  # fmt: skip
def test_the_larger_of_what_follows_from_a_bill_is_booked(
    told: Any, tokens: tuple[int, int], estimated: bool
) -> None:
    usage = read_usage(told, GUESS)
    assert ((usage.tokens_in, usage.tokens_out), usage.estimated) == (tokens, estimated)


@pytest.mark.parametrize("streams", [True, False])
def test_thoughts_that_were_heard_and_not_counted_are_booked(streams: bool) -> None:
    told = {"prompt_tokens": 10, "completion_tokens": 5}
    message = {"content": "hello", "reasoning_content": THOUGHT * 100}
    choice = {"message": message, "finish_reason": "stop"}
    parts = [event({"choices": [choice]}), event({"choices": [], "usage": told}), DONE]
    whole = completion(choice, usage=told)
    answer = Answer(events=lambda: iter(parts)) if streams else whole
    with FakeOpenAI([answer]) as server:
        bench = Bench(server)
        cost = bench.ask().cost
    assert cost.tokens_out >= len(THOUGHT) * 100 / 4
    assert bench.budget.spent_tokens == 10 + cost.tokens_out


def test_a_server_that_counts_nothing_though_it_answered_is_not_believed() -> None:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    with FakeOpenAI([Answer("hello" * 100, usage=nothing)]) as server:
        cost = Bench(server).ask().cost
    assert cost.tokens_in > 5 and cost.tokens_out >= 100


def test_what_a_server_says_a_call_cost_counts_where_it_is_more_than_the_prices() -> None:
    def dollars(cost: object, **prices: float) -> float | None:
        with FakeOpenAI([Answer("hello", usage={**USAGE, "cost": cost})]) as server:
            return Bench(server, **prices).ask().cost.dollars

    assert dollars(0.5) == 0.5  # though no price is known
    assert dollars(0.5, price_in=1.0, price_out=1.0) == 0.5
    assert dollars(0, price_in=1.0, price_out=1.0) == pytest.approx(120e-6)
    for odd in (-1, "much", True, {"total_cost": 1}, 1e99):
        assert dollars(odd) is None


def test_a_hard_budget_is_exceeded_by_no_more_than_the_calls_in_flight() -> None:
    bill = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 2000}
    with FakeOpenAI([Answer("hello", usage=bill)]) as server:
        bench = Bench(server, budget=FakeTokenBudget(tokens=5000))
        asked = 0
        while asked < 50:
            try:
                bench.ask()
            except ProposalFailed as error:
                assert "used up" in str(error)
                break
            asked += 1
    assert asked == 2 and bench.budget.spent_tokens == 4000  # a third might have cost 1000 more
