"""What the slots were used for: runs and slot time by purpose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from population.variant import Measurement, Purpose


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
        seconds.setdefault(run.order.purpose, []).append(run.wall_seconds)
    whole = sum(map(sum, seconds.values())) or 1.0
    return [
        Duty(str(purpose), len(mine), sum(mine), sum(mine) / whole)
        for purpose in Purpose
        if (mine := seconds.get(purpose))
    ]
