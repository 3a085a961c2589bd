"""A circuit breaker: an endpoint that keeps failing is paused, and asked again by one probe at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

STREAM_IDLE_SECONDS = (
    60.0  # between two pieces of an answer that has begun; longer, and it is given up
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a model is asked for one answer, and when it is left alone for a while."""

    attempts: int = 4  # of one request, the first included
    first_wait_seconds: float = 1.0  # before the second attempt; doubles each time, jittered
    max_wait_seconds: float = 60.0  # a server that asks for more is given up
    breaker_failures: int = 5  # failed requests in a row, then an endpoint rests
    first_rest_seconds: float = 15.0  # doubles from probe to probe, jittered
    max_rest_seconds: float = 600.0
    stream_idle_seconds: float = STREAM_IDLE_SECONDS


PATIENCE = Patience()


OVERDUE = 2.0  # times the slowest answer so far before a call in flight counts as stuck
FIRST_PATIENCE = 0.2  # of the time-out, while no answer was seen


class Breaker:
    """Guards one endpoint, whose answers time out. Thread-safe; each `enter` granted ends in one `leave`.

    Rests double from failed probe to failed probe, up to the longest, each shortened by up to half at
    random so that endpoints do not come back together.
    """

    def __init__(
        self,
        patience: Patience,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience, self._timeout_seconds, self._clock = patience, timeout_seconds, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._rest = 0.0  # the length of the last rest; 0: none since the last answer
        self._until = 0.0
        self._in_flight: dict[int, float] = {}  # ticket -> when it began
        self._tickets = 0
        self._slowest = 0.0

    def is_unavailable(self) -> bool:
        """Whether it is not to be asked now: it is paused, is being probed, or leaves its callers waiting."""
        with self._lock:
            return self._is_unavailable()

    def is_resting(self) -> bool:
        """Whether it failed so often that it rests, or rested and has not answered since."""
        with self._lock:
            return self._rest > 0

    def enter(self) -> int | None:
        """A ticket for one request; None while it is paused."""
        with self._lock:
            if self._is_unavailable():
                return None
            self._tickets += 1
            self._in_flight[self._tickets] = self._clock()
            return self._tickets

    def abandon(self, ticket: int) -> None:
        """The request was not sent, or was cut short by ourselves: it tells nothing."""
        with self._lock:
            del self._in_flight[ticket]

    def answered(self, ticket: int) -> bool:
        """The request was answered; whether that ends a rest."""
        with self._lock:
            self._slowest = max(self._slowest, self._clock() - self._in_flight.pop(ticket))
            was_resting, self._failures, self._rest = self._rest > 0, 0, 0.0
            return was_resting

    def failed(
        self, ticket: int, draw: float, asked_wait: float = 0.0, at_once: bool = False
    ) -> float | None:
        """The request failed; the seconds of the rest if one begins with it that none went before.

        `draw` is uniform in [0, 1); `asked_wait` is what the server asks for. `at_once`: more of the same
        cannot help, so the first failure is enough.
        """
        with self._lock:
            del self._in_flight[ticket]
            self._failures += 1
            patience, now = self._patience, self._clock()
            enough = at_once or self._failures >= patience.breaker_failures
            if not enough or now < self._until:
                return None
            first = self._rest == 0.0
            usual = patience.first_rest_seconds if first else 2.0 * self._rest
            self._rest = min(usual, patience.max_rest_seconds)
            seconds = max(self._rest * (1.0 - 0.5 * draw), asked_wait * (1.0 + 0.2 * draw))
            self._until = now + min(seconds, patience.max_rest_seconds)
            return self._until - now if first else None

    def _is_unavailable(self) -> bool:
        now = self._clock()
        if self._rest > 0:
            return now < self._until or bool(self._in_flight)
        known = OVERDUE * self._slowest
        limit = known or FIRST_PATIENCE * self._timeout_seconds
        overdue = sum(now - begun > max(limit, 1.0) for begun in self._in_flight.values())
        return overdue >= self._patience.breaker_failures
