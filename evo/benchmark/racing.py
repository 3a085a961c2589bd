"""The leaders' race for everyone: the class that `evo run` uses, on what is left of the seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evo.benchmark.landscapes.table import ERROR, Setting, Shown
from evo.search.final_selection import FinalRace
from population.archive import Objective
from population.run_history import RunHistory
from population.types import SCREENED, Measurement, MeasurementRow, Purpose, RunRequest, Status

RUNG = "table"
SEEN = "seed"  # stands for the first setting run, which a history measures all others against

Run = Callable[[Setting, int], Shown]


@dataclass(frozen=True, slots=True)
class Raced:
    """Whom the race chose, the error it then believes in, and what its runs took."""

    setting: Setting
    believed: float
    seconds: float
    runs: int


def affordable(
    leaders: int,
    share: float,
    seconds: float,
    history: RunHistory,
    run_seconds: Mapping[str, float],
) -> FinalRace:
    """A race of the leaders in this share of the runs, or fewer: what the seconds pay for."""
    able = sorted(
        (one for one in history.candidates(RUNG) if one.variant_id in run_seconds),
        key=lambda one: one.values[0],
    )[:leaders]
    searched = len(history.rows(RUNG))
    if not able or not searched:
        return FinalRace(leaders, 0.0, history, RUNG)
    runs = int(seconds / fmean(run_seconds[one.variant_id] for one in able))
    counted = sum(history.count(RUNG, one) for one in SCREENED)
    share = min(share, (runs + 0.5) / max(counted, 1))
    return FinalRace(leaders, share, history, RUNG)


def raced(
    seen: Sequence[tuple[Setting, int, Shown]], run: Run, leaders: int, share: float, seconds: float
) -> Raced:
    """The race of the settings seen on these blocks."""
    ids: dict[Setting, str] = {}
    history, took = RunHistory([Objective(name=ERROR)], SEEN), dict[str, float]()

    def add(shown: Shown, request: RunRequest) -> None:
        metrics = {ERROR: shown.values[0]}
        took[request.variant_id] = shown.seconds
        history.add(
            MeasurementRow(history.last_id() + 1, Measurement(request, Status.OK, metrics=metrics))
        )

    for repeat, (setting, block, shown) in enumerate(seen):
        one = ids.setdefault(setting, SEEN if not ids else str(len(ids)))
        add(shown, RunRequest(one, RUNG, block, repeat, Purpose.SCREEN))
    by_id = {one: setting for setting, one in ids.items()}
    race, spent, runs = affordable(leaders, share, seconds, history, took), 0.0, 0
    if begun := race.begin(len(history.rows(RUNG)), history.last_id()):
        race.take(begun)
    while request := race.next_request(history.measured):
        shown = run(by_id[request.variant_id], request.block)
        spent, runs = spent + shown.seconds, runs + 1
        add(shown, request)
    chosen = race.winner() or min(by_id, key=lambda one: history.believed(one, RUNG)[ERROR].mean)
    return Raced(by_id[chosen], history.believed(chosen, RUNG)[ERROR].mean, spent, runs)
