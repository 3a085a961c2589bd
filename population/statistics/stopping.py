"""Early stopping on learning curves: decided in the shadow until it is shown to be safe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from population.statistics.intervals import share_at_most
from population.types import CurvePoint

WOULD_STOP = "would stop"  # the kind of the decision about a run that the rule would end
MIN_STOPS = 60  # would-be stops before anything may be stopped: 0 of 60 bounds the share at 4.9 %
MAX_WRONG = 0.05
TOP_SHARE = 0.1
AUDIT_SHARE = 0.1  # of the stops that are run to the end all the same, once it is on
MIN_PROGRESS = 0.25  # earlier a curve says too little
MIN_PEERS = 10


@dataclass(frozen=True, slots=True)
class Shadow:
    """One finished run: would it have been stopped, and what it scored in the end (lower is better)."""

    stopped: bool
    score: float


@dataclass(frozen=True, slots=True)
class Safety:
    """What the would-be stops show: how many, how many ended in the top tenth, the upper 95 % bound."""

    stops: int
    wrong: int
    at_most: float
    may_stop: bool


def would_stop(
    curve: Sequence[CurvePoint], peers: Iterable[Sequence[CurvePoint]], keep: float = 0.5
) -> float | None:
    """The progress at which a run is stopped: its loss is above the `keep` quantile of its peers'; or None.

    The median rule (Golovin et al. 2017, Vizier, 3.1) on the best loss so far, asked at the run's own points
    from a quarter of the way on. Peers: finished runs of the same rung and schedule; fewer than ten
    stop nothing.
    """
    finished = [list(peer) for peer in peers]
    best = math.inf
    for point in curve:
        best = min(best, point.loss)
        if point.progress < MIN_PROGRESS or point.progress >= 1:
            continue
        losses = sorted(
            loss for peer in finished if (loss := _best_upto(peer, point.progress)) is not None
        )
        if len(losses) >= MIN_PEERS and best > losses[math.ceil(keep * len(losses)) - 1]:
            return point.progress
    return None


def safety(runs: Sequence[Shadow]) -> Safety:
    """Whether stopping may be switched on: of the would-be stops, how many end in the top tenth of all?

    Clopper and Pearson's one-sided bound at 95 %, from 60 would-be stops on. Runs are those carried
    to the end, in the shadow or audited.
    """
    ranked = sorted(run.score for run in runs)
    cut = ranked[max(math.ceil(TOP_SHARE * len(ranked)) - 1, 0)] if ranked else -math.inf
    stops = [run for run in runs if run.stopped]
    wrong = sum(run.score <= cut for run in stops)
    bound = share_at_most(wrong, len(stops))
    allowed = len(stops) >= MIN_STOPS and bound < MAX_WRONG
    return Safety(len(stops), wrong, bound, allowed)


def _best_upto(curve: Sequence[CurvePoint], progress: float) -> float | None:
    """The least loss at or before a progress; None when the curve has no point there."""
    return min((point.loss for point in curve if point.progress <= progress), default=None)
