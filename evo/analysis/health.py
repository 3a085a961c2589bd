"""How a campaign goes: slots in use, what a run costs beside training, the best so far, failures."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import Noise
from population.archive import Objective
from population.statistics.stopping import Shadow, safety
from population.types import ONE_STEP, Measurement, MeasurementRow, ProposalRow, Purpose, Status


def slot_busy_share(
    runs: Sequence[Measurement], slots: int, starts: Sequence[float] = ()
) -> float | None:
    """Slot wall time over slots x the span from the first start to the last start; None without a span.

    `starts`: when processes started or resumed it, seconds since the epoch; the time between two of them
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
        if run.status is Status.OK and not run.request.rung.endswith(ONE_STEP)
    ]
    return median(overheads) if overheads else None


def stale_measurements_median(
    rows: Sequence[MeasurementRow], proposals: Iterable[ProposalRow]
) -> float | None:
    """How many measurements came between what a child's proposal had seen and the child's first run.

    The median over children that ran; None without any. `rows`: all that were recorded, in order.
    """
    ids = [row.id for row in rows]
    ends = sorted(row.measurement.started_at + row.measurement.wall_seconds for row in rows)
    began: dict[str, float] = {}
    for row in rows:
        if row.measurement.request.purpose is Purpose.SCREEN:
            began.setdefault(row.measurement.request.variant_id, row.measurement.started_at)
    seen = {
        made.variant_id: made.seen
        for made in proposals
        if made.variant_id in began and made.parents
    }
    counts = [  # what a proposal had seen had ended before its child began
        max(bisect_right(ends, began[child]) - bisect_right(ids, last), 0)
        for child, last in seen.items()
        if child is not None
    ]
    return median(counts) if counts else None


def run_seconds(runs: Iterable[Measurement], rung: str) -> float | None:
    """Mean slot seconds of a run at a rung, failed ones included; None without any."""
    seconds = [run.wall_seconds for run in runs if run.request.rung == rung]
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
        if run.status is Status.OK and run.request.rung == rung and objective.name in run.metrics:
            value = run.metrics[objective.name]
            turned = objective.turned(value)
            if turned < least:
                least = turned
                line.append(BestSoFar(row.id, run.request.variant_id, value))
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
        Failures(status.value, len(all_), all_[-1].reason, all_[-1].request.variant_id)
        for status, all_ in found.items()
    ]
    return sorted(kinds, key=lambda kind: -kind.count)


# -- What the slots were used for: runs and slot time by purpose.


@dataclass(frozen=True, slots=True)
class Duty:
    """One purpose: its runs, lost ones too, their slot seconds, and the share of all slot seconds."""

    purpose: str
    runs: int
    slot_seconds: float
    share: float


def duties(attempts: Iterable[Measurement]) -> list[Duty]:
    """Each purpose that had a run, in the order of Purpose."""
    seconds: dict[Purpose, list[float]] = {}
    for run in attempts:
        seconds.setdefault(run.request.purpose, []).append(run.wall_seconds)
    whole = sum(map(sum, seconds.values())) or 1.0
    return [
        Duty(str(purpose), len(mine), sum(mine), sum(mine) / whole)
        for purpose in Purpose
        if (mine := seconds.get(purpose))
    ]


# -- Whether the machine still measures as it did: the seed's reference runs, each host on its own chart.


@dataclass(frozen=True, slots=True)
class HostDrift:
    """One host's reference runs: how many, the smoothed score now, its limits, and whether it left them."""

    host: str
    references: int
    centre: float
    now: float
    low: float
    high: float
    outside: bool


def drifts(record: Record, level: Noise | None) -> list[HostDrift]:
    """Each host with a reference run, around the seed's calibration on the same block there.

    The sd is that of repeats on the block where there are any, else that of a run from block to block.
    """
    name = record.objective.name
    seed_runs = [
        run
        for run in record.runs()
        if run.request.variant_id == record.seed_id
        and run.request.rung == record.proxy
        and run.request.block == 0
        and name in run.metrics
    ]
    hosts: dict[str, list[Measurement]] = {}
    for run in seed_runs:
        hosts.setdefault(run.host, []).append(run)
    found = [_host(host, runs, name, level) for host, runs in hosts.items()]
    return [one for one in found if one is not None]


def _host(host: str, runs: list[Measurement], name: str, level: Noise | None) -> HostDrift | None:
    before = [run.metrics[name] for run in runs if run.request.purpose is Purpose.CALIBRATE]
    values = [run.metrics[name] for run in runs if run.request.purpose is Purpose.REFERENCE]
    sd = stdev(before) if len(before) > 2 else (level.sd if level is not None else 0.0)
    if not before or not values or not sd:
        return None
    from population.statistics.noise import drift  # only where there are runs to chart: it is heavy

    chart = drift(values, fmean(before), sd, len(before))
    return HostDrift(
        host,
        len(values),
        fmean(before),
        chart.smoothed[-1],
        chart.low[-1],
        chart.high[-1],
        chart.first_outside is not None,
    )


# -- Early stopping as it would have been: how many runs, how many of them wrongly, and what it would save.


@dataclass(frozen=True, slots=True)
class Shadowed:
    """`wrong`: would-be stops that ended in the top tenth, a share of `at_most` (upper 95 %).

    `stopped`: runs that were really ended. `may_stop`: the bound is low enough for `stopping.mode: on` to act.
    """

    mode: str
    stops: int
    wrong: int
    at_most: float
    may_stop: bool
    saves_seconds: float
    stopped: int


def shadowed(record: Record) -> Shadowed:
    """What the rule decided about the children measured so far."""
    name, runs = record.objective.name, record.runs()
    screened = [
        run
        for run in runs
        if run.request.purpose is Purpose.SCREEN and run.request.rung == record.proxy
    ]
    ended = [
        Shadow(
            run.request.variant_id in record.would_stop, record.objective.turned(run.metrics[name])
        )
        for run in screened
        if name in run.metrics
    ]
    found = safety(ended)
    return Shadowed(
        mode=str(record.config.get("stopping", {}).get("mode", "shadow")),
        stops=found.stops,
        wrong=found.wrong,
        at_most=found.at_most,
        may_stop=found.may_stop,
        saves_seconds=sum(record.would_stop.values()),
        stopped=sum(run.status is Status.STOPPED for run in screened),
    )
