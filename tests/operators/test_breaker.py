"""An endpoint that keeps failing rests, is probed ever more rarely, and comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from operators.llm.accounting import NoCallLog, UnlimitedBudget
from operators.llm.answer import Message
from operators.llm.breaker import Breaker, Patience
from operators.llm.client import LlmClient
from operators.llm.settings import Endpoint, LlmSettings
from operators.operator import Draft, ParentRule, ProposalFailed, Request
from operators.portfolio import Portfolio
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow

PATIENCE = Patience(breaker_failures=3, first_rest_seconds=10.0, max_rest_seconds=100.0)
TIMEOUT_SECONDS = 50.0
MESSAGES = (Message("user", "improve this"),)


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: Breaker, draw: float = 0.0, wait: float = 0.0) -> float | None:
    ticket = breaker.enter()
    assert ticket is not None
    return breaker.failed(ticket, draw, wait)


def test_it_rests_after_failures_in_a_row_and_an_answer_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(PATIENCE, TIMEOUT_SECONDS, FakeClock())
    assert fail(breaker) is None and fail(breaker) is None
    ticket = breaker.enter()
    assert ticket is not None and breaker.answered(ticket) is False
    assert fail(breaker) is None and fail(breaker) is None and not breaker.is_unavailable()
    assert fail(breaker) == 10.0
    assert breaker.is_unavailable() and breaker.enter() is None


def test_after_a_rest_one_probe_goes_alone_and_its_answer_ends_the_rest() -> None:
    clock = FakeClock()
    breaker = Breaker(PATIENCE, TIMEOUT_SECONDS, clock)
    for _ in range(3):
        fail(breaker)
    clock.now = 10.0
    assert not breaker.is_unavailable()
    probe = breaker.enter()
    assert probe is not None and breaker.is_unavailable() and breaker.enter() is None
    assert breaker.answered(probe) is True
    assert breaker.enter() is not None and not breaker.is_unavailable()


def test_a_probe_that_was_never_sent_leaves_room_for_the_next() -> None:
    clock = FakeClock()
    breaker = Breaker(PATIENCE, TIMEOUT_SECONDS, clock)
    for _ in range(3):
        fail(breaker)
    clock.now = 10.0
    probe = breaker.enter()
    assert probe is not None
    breaker.abandon(probe)
    assert breaker.enter() is not None


def test_rests_double_up_to_the_longest_and_only_the_first_is_told() -> None:
    clock = FakeClock()
    breaker = Breaker(PATIENCE, TIMEOUT_SECONDS, clock)
    told = [fail(breaker) for _ in range(3)]
    rest_times = []
    for _ in range(5):
        begun = clock.now
        while breaker.is_unavailable():
            clock.now += 0.5
        rest_times.append(clock.now - begun)
        told.append(fail(breaker))
    assert rest_times == [10.0, 20.0, 40.0, 80.0, 100.0]
    assert [one for one in told if one is not None] == [10.0]


def test_rests_are_jittered_and_a_wait_asked_for_is_kept_up_to_the_longest() -> None:
    def rest(draw: float, wait: float = 0.0) -> float:
        breaker = Breaker(PATIENCE, TIMEOUT_SECONDS, FakeClock())
        fail(breaker), fail(breaker)
        return fail(breaker, draw, wait) or 0.0

    assert rest(0.0) == 10.0 and rest(0.999) == pytest.approx(5.0, abs=0.01)
    assert rest(0.0, wait=60.0) == 60.0 and rest(0.9, wait=60.0) > 60.0
    assert rest(0.0, wait=3600.0) == 100.0


def test_an_endpoint_that_leaves_callers_waiting_rests_before_it_has_failed() -> None:
    clock = FakeClock()
    breaker = Breaker(PATIENCE, TIMEOUT_SECONDS, clock)
    tickets = [breaker.enter() for _ in range(3)]
    clock.now = 9.0  # a fifth of its time-out is not over
    assert not breaker.is_unavailable()
    clock.now = 11.0
    assert breaker.is_unavailable() and breaker.enter() is None
    assert tickets[0] is not None
    breaker.answered(tickets[0])
    assert not breaker.is_unavailable()


# -- over a real connection --------------------------------------------------------------------------


def client(
    said: list[str],
    clock: Callable[[], float] = lambda: 0.0,
    attempts: int = 3,
    **endpoints: str,
) -> LlmClient:
    """A client whose endpoints rest after 4 failures in a row, by a clock that stands still."""
    every = tuple(
        Endpoint(name=name, model=name, base_url=url, key_env="", timeout_seconds=60)
        for name, url in endpoints.items()
    )
    patience = Patience(attempts, 0.01, 0.05, 4, 10, 40)
    settings = LlmSettings(endpoints=every)
    given = (settings, UnlimitedBudget(), NoCallLog())
    made = LlmClient(*given, environ={}, say=said.append, patience=patience)
    for breaker in made._breakers.values():
        breaker._clock = clock
    return made


def tries(one: LlmClient, times: int = 1) -> list[str]:
    rng, replies = np.random.default_rng(0), []
    for _ in range(times):
        try:
            replies.append(one.ask(MESSAGES, rng).text)
        except ProposalFailed as failed:
            replies.append(failed.reason)
    return replies


@pytest.mark.parametrize("status", [500, 429, 401, 404])
def test_a_server_that_fails_is_left_alone_and_taken_up_again_when_it_is_back(status: int) -> None:
    well: list[bool] = []

    def script(asked: RequestRow) -> Answer:
        return Answer("hello") if well else Answer("down", status=status)

    said: list[str] = []
    clock = FakeClock()
    with FakeOpenAI(script) as server:
        one = client(said, clock, a=server.base_url)
        replies = tries(one, 20)
        assert one.is_unavailable() and len(server.requests) == 4
        assert replies[-1] == "a: it is paused after failures in a row"
        for probes in (1, 2, 3):
            clock.now += 40.0
            tries(one, 20)
            assert one.is_unavailable() and len(server.requests) == 4 + probes
        well.append(True)
        tries(one, 20)
        assert len(server.requests) == 4 + 3  # it rests still
        clock.now += 40.0
        assert tries(one, 3) == ["hello"] * 3
    assert len(said) == 2, said
    assert said[0].startswith("the model a is paused after 4 failures in a row (HTTP")
    assert said[1] == "the model a answers again"


def test_while_one_endpoint_rests_the_other_is_asked() -> None:
    with FakeOpenAI([Answer(status=500)]) as bad, FakeOpenAI(["hello"]) as good:
        one = client([], bad=bad.base_url, good=good.base_url)
        replies = tries(one, 60)
        assert not one.is_unavailable()
    assert replies[-20:] == ["hello"] * 20 and len(bad.requests) == 4
    assert replies.count("hello") >= 56


def test_many_threads_at_once_open_it_once() -> None:
    said: list[str] = []
    together = threading.Barrier(16, timeout=60)

    def script(asked: RequestRow) -> Answer:
        together.wait()  # all are asking before the first is answered
        return Answer(status=503)

    with FakeOpenAI(script) as server:
        one = client(said, attempts=1, a=server.base_url)
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda _: tries(one), range(16)))
        assert len(server.requests) == 16 and one.is_unavailable()
    assert len(said) == 1


def test_the_portfolio_passes_over_operators_that_rest() -> None:
    class FakeResting:
        name, parent_rule = "resting", ParentRule.ONE
        asleep = True

        def is_unavailable(self) -> bool:
            return self.asleep

        def propose(self, request: Request) -> Draft:
            raise AssertionError

    class FakeAwake:
        name, parent_rule = "awake", ParentRule.ONE

        def propose(self, request: Request) -> Draft:
            raise AssertionError

    resting, awake = FakeResting(), FakeAwake()
    both = Portfolio([resting, awake], {"resting": 1.0, "awake": 1.0})
    rng = np.random.default_rng(0)
    assert {one.operator.name for _ in range(20) if (one := both.choose(rng))} == {"awake"}
    alone = Portfolio([resting], {"resting": 1.0})
    assert not both.is_unavailable() and alone.is_unavailable() and alone.choose(rng) is None
    resting.asleep = False
    assert {one.operator.name for _ in range(40) if (one := both.choose(rng))} == {
        "awake",
        "resting",
    }
