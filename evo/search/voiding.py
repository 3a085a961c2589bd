"""When a measurement does not count: because the machine was not itself, never because of its score.

The judgement is made from `RunConditions`, which hold no score, before a run is recorded. A run that is
rejected stays as a row with its reason, and is made again under another repeat.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Self

from evo.evaluation.evaluator import WAITED
from population.types import Measurement, RunRequest, Status

KNOWN = 30  # runs of a host at a rung that say what is usual, the newest
MIN_KNOWN = 5  # before that nothing is unusual
MAX_CROWDING = (
    2.0  # times what is usual: seconds a CPU second, its own and those that others held its core
)
MIN_SPEED = 0.75  # of the usual tokens a second, for runs of the seed
MAX_VOIDS = 2  # of one run: a machine that stays so is the machine that there is


@dataclass(frozen=True, slots=True)
class RunConditions:
    """What is known of a run except its score. Seconds are the supervisor's, tokens the variant's.

    `waited_seconds`: for cores that others held, so that no run is crowded by its own choice; None where
    it is not known.
    """

    request: RunRequest
    host: str
    train_wall_seconds: float
    cpu_seconds: float
    waited_seconds: float | None
    tokens: int

    @classmethod
    def of(cls, run: Measurement) -> Self:
        """Of one run."""
        known = run.facts.get(WAITED)
        return cls(
            run.request,
            run.host,
            run.train_wall_seconds,
            run.cpu_seconds,
            None if known is None else float(known),
            run.self_reported_tokens,
        )


class Voiding:
    """What is usual on each host, and what is not. `timed` rungs count wall seconds, others CPU seconds."""

    def __init__(self, seed_id: str, wall_clocked: Iterable[str] = ()) -> None:
        self._seed_id, self._wall_clocked = seed_id, set(wall_clocked)
        self._crowding = _usual()
        self._speed = _usual()

    def objection(self, run: RunConditions, voided_before: int) -> str:
        """Why this run does not count, and "" when it does; from what came before it."""
        if voided_before >= MAX_VOIDS:
            return ""
        key, crowding, speed = self._key(run), self._crowding_of(run), self._speed_of(run)
        usual = _middle(self._crowding[key])
        if crowding and usual and crowding > MAX_CROWDING * usual:
            return (
                f"the machine was busy: {crowding:.2f} seconds a CPU second, those that others held its "
                f"core included, usually {usual:.2f}"
            )
        usual = _middle(self._speed[key])
        if speed and usual and speed < MIN_SPEED * usual:
            return f"the machine was slow: {speed:.0f} tokens a second of the seed, usually {usual:.0f}"
        return ""

    def take_in(self, run: RunConditions) -> None:
        """A run that counts says what is usual."""
        key = self._key(run)
        if crowding := self._crowding_of(run):
            self._crowding[key].append(crowding)
        if speed := self._speed_of(run):
            self._speed[key].append(speed)

    def _key(self, run: RunConditions) -> tuple[str, str]:
        return run.host, run.request.rung

    def _crowding_of(self, run: RunConditions) -> float | None:
        """CPU seconds and those it waited, a CPU second; None where the clock is the wall's own."""
        known = run.cpu_seconds and run.waited_seconds is not None
        if run.request.rung in self._wall_clocked or not known:
            return None
        return 1.0 + (run.waited_seconds or 0.0) / run.cpu_seconds

    def _speed_of(self, run: RunConditions) -> float | None:
        """The seed's tokens a second of its clock; None for any other variant: its speed is its own."""
        wall = run.request.rung in self._wall_clocked
        seconds = run.train_wall_seconds if wall else run.cpu_seconds
        return run.tokens / seconds if run.request.variant_id == self._seed_id and seconds else None


def judged(voiding: Voiding | None, run: Measurement, voided_before: int) -> str:
    """The objection to a run that ended well; every other status is an answer of its own."""
    if voiding is None or run.status is not Status.OK:
        return ""
    return voiding.objection(RunConditions.of(run), voided_before)


def _usual() -> defaultdict[tuple[str, str], deque[float]]:
    return defaultdict(lambda: deque(maxlen=KNOWN))


def _middle(known: deque[float]) -> float | None:
    return median(known) if len(known) >= MIN_KNOWN else None
