"""What the seed's own runs say: how noisy a run is, what can be certified, and which rungs match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evo.analysis.campaign_view import Record
from population.statistics.certification import Rule
from population.statistics.noise import DRAWS_SEED, Calibration, calibrate, seed_samples
from population.types import Measurement, Status

TOKENS_WITHIN = 2.0  # rungs match when their tokens per parameter are this close


@dataclass(frozen=True, slots=True)
class Place:
    """The seed at one rung: its score, size, and how much text a parameter saw."""

    rung: str
    depth: int
    budget: float
    val_bpb: float
    parameters: float
    tokens_per_parameter: float
    epochs: float


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What a grid of rungs shows. `proposed`: (depth, budget) at the proxy's tokens per parameter."""

    places: tuple[Place, ...]
    proposed: tuple[tuple[int, float], ...]
    wants_smaller: (
        bool  # at the proxy's budget a shallower seed scores better than the proxy's depth
    )


def noise_of(record: Record, children: int, rule_of: Callable[[float], Rule]) -> Calibration | None:
    """The noise of the seed's runs at the proxy; None below two runs across and two within blocks.

    `rule_of` gives the procedure in force at a run's sd.
    """
    rows = [row for row in record.rows if row.measurement.request.rung == record.proxy]
    across, within = seed_samples(rows, record.objective.name)
    if len(across) < 2 or len(within) < 2:
        return None
    return calibrate(across, within, rule_of, children, np.random.default_rng(DRAWS_SEED))


def ladder_of(record: Record) -> CalibrationReport | None:
    """What the seed's runs at every rung show, the first rung being the proxy; None without it."""
    runs = {row.measurement.request.rung: row.measurement for row in record.rows}
    places = [
        _place(name, settings, runs[name])
        for name, settings in record.config["rungs"].items()
        if name in runs and runs[name].status is Status.OK
    ]
    if not places or places[0].rung != record.proxy:
        return None
    proxy = places[0]
    shallower = [p for p in places if p.depth < proxy.depth and p.budget == proxy.budget]
    return CalibrationReport(
        places=tuple(places),
        proposed=_matching(places, proxy),
        wants_smaller=any(place.val_bpb < proxy.val_bpb for place in shallower),
    )


def _place(rung: str, settings: dict[str, float], run: Measurement) -> Place:
    found = run.metrics
    return Place(
        rung,
        int(settings["depth"]),
        float(settings["budget"]),
        found["val_bpb"],
        found["parameters"],
        found["tokens_per_parameter"],
        found["epochs"],
    )


def _matching(places: Sequence[Place], proxy: Place) -> tuple[tuple[int, float], ...]:
    """For each other depth, the budget that gives a parameter as many tokens as at the proxy.

    Tokens grow in proportion to the budget; the measured place nearest to the wanted one is scaled.
    """
    proposed = []
    for depth in sorted({place.depth for place in places} - {proxy.depth}):
        ratios = {
            place: proxy.tokens_per_parameter / place.tokens_per_parameter
            for place in places
            if place.depth == depth
        }
        near, ratio = min(ratios.items(), key=lambda item: abs(np.log(item[1])))
        within = 1 / TOKENS_WITHIN <= ratio <= TOKENS_WITHIN
        proposed.append((depth, near.budget if within else near.budget * ratio))
    return tuple(proposed)
