"""The leaders' race for everyone: the class that `evo run` uses, on what is left of the seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evo.benchmark.landscapes.table import ERROR, Setting, Shown
from evo.search.final_selection import FinalRace
from population.archive import Objective
from population.run_history import RunHistory
from population.types import Measurement, MeasurementRow, Purpose, RunRequest, Status

RUNG = "table"
SEEN = "seed"  # stands for the first setting run, which a tally measures all others against

Run = Callable[[Setting, int], Shown]


@dataclass(frozen=True, slots=True)
class Raced:
    """Whom the race chose, the error it then believes in, and what its runs took."""

    setting: Setting
    believed: float
    seconds: float
    runs: int


def affordable(
    leaders: int, share: float, seconds: float, tally: RunHistory, run_seconds: Mapping[str, float]
) -> FinalRace:
    """A race of the leaders in this share of the runs, or fewer: what the seconds pay for."""
    able = sorted(
        (one for one in tally.candidates(RUNG) if one.variant_id in run_seconds),
        key=lambda one: one.values[0],
    )[:leaders]
    searched = len(tally.rows(RUNG))
    if not able or not searched:
        return FinalRace(leaders, 0.0, tally, RUNG)
    runs = int(seconds / fmean(run_seconds[one.variant_id] for one in able))
    counted = sum(tally.count(RUNG, one) for one in (Purpose.SCREEN, Purpose.REMEASURE))
    share = min(share, (runs + 0.5) / max(counted, 1))
    return FinalRace(leaders, share, tally, RUNG)


def raced(
    seen: Sequence[tuple[Setting, int, Shown]], run: Run, leaders: int, share: float, seconds: float
) -> Raced:
    """The race of the settings seen on these blocks."""
    ids: dict[Setting, str] = {}
    tally, took = RunHistory([Objective(name=ERROR)], SEEN), dict[str, float]()

    def add(shown: Shown, order: RunRequest) -> None:
        metrics = {ERROR: shown.values[0]}
        took[order.variant_id] = shown.seconds
        tally.add(
            MeasurementRow(tally.last_id() + 1, Measurement(order, Status.OK, metrics=metrics))
        )

    for repeat, (setting, block, shown) in enumerate(seen):
        one = ids.setdefault(setting, SEEN if not ids else str(len(ids)))
        add(shown, RunRequest(one, RUNG, block, repeat, Purpose.SCREEN))
    by_id = {one: setting for setting, one in ids.items()}
    race, spent, runs = affordable(leaders, share, seconds, tally, took), 0.0, 0
    if begun := race.begin(len(tally.rows(RUNG)), tally.last_id()):
        race.take(begun)
    while order := race.next_order(tally.measured):
        shown = run(by_id[order.variant_id], order.block)
        spent, runs = spent + shown.seconds, runs + 1
        add(shown, order)
    chosen = race.winner() or min(by_id, key=lambda one: tally.believed(one, RUNG)[ERROR].mean)
    return Raced(by_id[chosen], tally.believed(chosen, RUNG)[ERROR].mean, spent, runs)
