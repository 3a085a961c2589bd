"""Early stopping as it would have been: how many runs, how many of them wrongly, and what it would save."""

from __future__ import annotations

from dataclasses import dataclass

from evo.analysis.record import Record
from population.statistics.stopping import Shadow, safety
from population.variant import Purpose, Status


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
        if run.order.purpose is Purpose.SCREEN and run.order.rung == record.proxy
    ]
    ended = [
        Shadow(
            run.order.variant_id in record.would_stop, record.objective.turned(run.metrics[name])
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
