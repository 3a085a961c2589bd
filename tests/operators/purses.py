"""A purse to test with."""

from __future__ import annotations

import threading

from operators.llm.purse import Hold


class FakePurse:
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
