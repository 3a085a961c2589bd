"""Whether the machine still measures as it did: the seed's reference runs, each host on its own chart."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, stdev

from evo.analysis.comparison import Noise
from evo.analysis.record import Record
from population.statistics.noise import Drift, drift
from population.variant import Measurement, Purpose


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
        if run.order.variant_id == record.seed_id
        and run.order.rung == record.proxy
        and run.order.block == 0
        and name in run.metrics
    ]
    hosts: dict[str, list[Measurement]] = {}
    for run in seed_runs:
        hosts.setdefault(run.host, []).append(run)
    found = [_host(host, runs, name, level) for host, runs in hosts.items()]
    return [one for one in found if one is not None]


def _host(host: str, runs: list[Measurement], name: str, level: Noise | None) -> HostDrift | None:
    before = [run.metrics[name] for run in runs if run.order.purpose is Purpose.CALIBRATE]
    values = [run.metrics[name] for run in runs if run.order.purpose is Purpose.REFERENCE]
    sd = stdev(before) if len(before) > 2 else (level.sd if level is not None else 0.0)
    if not before or not values or not sd:
        return None
    chart: Drift = drift(values, fmean(before), sd, len(before))
    return HostDrift(
        host,
        len(values),
        fmean(before),
        chart.smoothed[-1],
        chart.low[-1],
        chart.high[-1],
        chart.first_outside is not None,
    )
