"""How many proposals are to be in the making: as many as keep the slots busy, and none that would be stale.

In flight, waiting children included, are at most

    slots + queue + slots x (a proposal's seconds / an evaluation's seconds)

which is Little's law (Little 1961) for the answers that arrive while the slots work, and what may wait.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_IN_FLIGHT = 32
RECENT = 10  # answers, or evaluations, that a mean looks back on


class Wanted(StrEnum):
    """What the next proposal may be."""

    NOTHING = "nothing"
    ANY = "any"
    WITHOUT_MODEL = "without a model"


@dataclass(frozen=True, slots=True)
class ProposalFlow:
    """What is in flight. Seconds are None while none were seen.

    `answers_awaited`: for how long each model that was asked has not answered yet, in seconds.
    `is_scored`: whether there is a parent with a score, without which no model is asked.
    """

    slots: int
    queue: int
    ready: int = 0
    computing: int = 0  # proposals in the making that wait for no model
    answers_awaited: Sequence[float] = ()
    answer_seconds: Sequence[float] = ()  # of recent answers
    computing_seconds: float = 0.0  # that a proposal without a model takes
    evaluation_seconds: float | None = None
    is_scored: bool = True

    @property
    def in_flight(self) -> int:
        """Children that wait for their first run, and proposals in the making."""
        return self.ready + self.computing + len(self.answers_awaited)

    @property
    def max_in_flight(self) -> int:
        """How many there may be."""
        meanwhile = 0.0
        if self.evaluation_seconds:
            answer = expected_answer_seconds(self.answer_seconds, self.answers_awaited)
            slowest = max(answer, self.computing_seconds)
            meanwhile = self.slots * slowest / self.evaluation_seconds
        return min(self.slots + self.queue + math.ceil(meanwhile), MAX_IN_FLIGHT)

    def wanted(self) -> Wanted:
        """What the next proposal may be; while models think, slots are filled without one."""
        at_hand = self.ready + self.computing
        if self.is_scored and self.in_flight < self.max_in_flight:
            return Wanted.ANY
        if at_hand < self.slots and self.in_flight < MAX_IN_FLIGHT:
            return Wanted.WITHOUT_MODEL
        return Wanted.NOTHING


def expected_answer_seconds(answers: Iterable[float], awaited: Iterable[float]) -> float:
    """The mean of recent answers and of those that have been awaited for longer than it; 0 without any.

    An answer that is still awaited takes at least as long as it did so far.
    """
    seconds = list(answers)
    mean = math.fsum(seconds) / len(seconds) if seconds else 0.0
    for one in sorted(awaited, reverse=True):
        if one <= mean:
            break
        seconds.append(one)
        mean = math.fsum(seconds) / len(seconds)
    return mean


class RecentSeconds:
    """The last few of a kind of duration."""

    def __init__(self) -> None:
        self.values: deque[float] = deque(maxlen=RECENT)

    def add(self, value: float) -> None:
        """Take in one more."""
        self.values.append(value)

    @property
    def mean(self) -> float | None:
        """Their mean; None without any."""
        return math.fsum(self.values) / len(self.values) if self.values else None
