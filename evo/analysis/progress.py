"""How a campaign goes: slots in use, what a run costs beside training, the best so far, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from population.archive import Objective
from population.records import MeasurementRow
from population.variant import ONE_STEP, Measurement, Status


def slot_busy_share(
    runs: Sequence[Measurement], slots: int, starts: Sequence[float] = ()
) -> float | None:
    """Slot wall time over slots x the span from the first start to the last start; None without a span.

    `starts`: when processes took the campaign up, seconds since the epoch; the time between two of them
    in which nothing ran is nobody's idling. Lost runs count: the slot was busy with them.
    """
    busy, span = 0.0, 0.0
    for session in _sessions(runs, starts):
        first = min(run.started_at for run in session)
        last = max(run.started_at for run in session)
        span += last - first
        busy += sum(
            max(0.0, min(r.started_at + r.wall_seconds, last) - r.started_at) for r in session
        )
    return busy / (slots * span) if span > 0 and slots > 0 else None


def _sessions(runs: Sequence[Measurement], starts: Sequence[float]) -> Iterable[list[Measurement]]:
    edges = sorted(starts)
    sessions: dict[int, list[Measurement]] = {}
    for run in runs:
        sessions.setdefault(sum(edge <= run.started_at for edge in edges), []).append(run)
    return sessions.values()


def overhead_seconds_median(runs: Iterable[Measurement]) -> float | None:
    """Median of slot wall time minus training wall time over `ok` runs; None without any."""
    overheads = [
        run.wall_seconds - run.train_wall_seconds
        for run in runs
        if run.status is Status.OK and not run.order.rung.endswith(ONE_STEP)
    ]
    return median(overheads) if overheads else None


def run_seconds(runs: Iterable[Measurement], rung: str) -> float | None:
    """Mean slot seconds of a run at a rung, failed ones included; None without any."""
    seconds = [run.wall_seconds for run in runs if run.order.rung == rung]
    return fmean(seconds) if seconds else None


@dataclass(frozen=True, slots=True)
class BestSoFar:
    """One point of the best-so-far line: a single run's value, so an optimistic one."""

    measurement_id: int
    variant_id: str
    value: float


def best_so_far(rows: Iterable[MeasurementRow], objective: Objective, rung: str) -> list[BestSoFar]:
    """The runs that were the best single run at their time, oldest first."""
    line: list[BestSoFar] = []
    least = float("inf")
    for row in rows:
        run = row.measurement
        if run.status is Status.OK and run.order.rung == rung and objective.name in run.metrics:
            value = run.metrics[objective.name]
            turned = value if objective.direction == "minimise" else -value
            if turned < least:
                least = turned
                line.append(BestSoFar(row.id, run.order.variant_id, value))
    return line


def by_status(runs: Iterable[Measurement]) -> dict[str, int]:
    """How many runs ended how, in the order of Status; none without a run."""
    counts = Counter(run.status for run in runs)
    return {status.value: counts[status] for status in Status if counts[status]}


@dataclass(frozen=True, slots=True)
class Failures:
    """One way to fail: how often it happened and the last reason, as the evaluator worded it."""

    kind: str
    count: int
    example: str
    variant_id: str


def failures(runs: Iterable[Measurement]) -> list[Failures]:
    """The ways runs failed, most frequent first."""
    found: dict[Status, list[Measurement]] = {}
    for run in runs:
        if run.status is not Status.OK:
            found.setdefault(run.status, []).append(run)
    kinds = [
        Failures(status.value, len(all_), all_[-1].reason, all_[-1].order.variant_id)
        for status, all_ in found.items()
    ]
    return sorted(kinds, key=lambda kind: -kind.count)
