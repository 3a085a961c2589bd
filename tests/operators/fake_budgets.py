"""A budget and a log of calls to test with."""

from __future__ import annotations

import threading

from operators.llm.accounting import ASKED, Hold
from population.types import LlmCall


class FakeTokenBudget:
    """A budget of tokens that checks that every hold comes back once."""

    def __init__(self, tokens: float = float("inf")) -> None:
        self.left = tokens
        self.holds: list[Hold] = []
        self.spent_tokens = 0
        self.spent_dollars: list[float | None] = []
        self._lock = threading.Lock()

    def reserve(self, hold: Hold) -> bool:
        with self._lock:
            if sum(one.tokens for one in self.holds) + hold.tokens > self.left:
                return False
            self.holds.append(hold)
            return True

    def settle(self, hold: Hold, tokens: int, dollars: float | None) -> None:
        with self._lock:
            self.holds.remove(hold)
            self.left -= tokens
            self.spent_tokens += tokens
            self.spent_dollars.append(dollars)


class FakeCallLog:
    """Keeps finished calls in a list, and checks that every request is opened before it ends."""

    def __init__(self, calls: list[LlmCall]) -> None:
        self.calls = calls
        self.in_flight: dict[int, LlmCall] = {}
        self._asked = 0
        self._lock = threading.Lock()

    def asked(self, call: LlmCall) -> int:
        assert call.outcome == ASKED
        with self._lock:
            self._asked += 1
            self.in_flight[self._asked] = call
            return self._asked

    def answered(self, number: int, call: LlmCall) -> None:
        with self._lock:
            ceiling = self.in_flight.pop(number)
            assert call.prompt == ceiling.prompt
            self.calls.append(call)
