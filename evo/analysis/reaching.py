"""The headline: how long the target's best needs to reach what the seed ends with at the target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from evo.analysis.comparison import block_values
from evo.analysis.ladder import GRADUATING
from evo.analysis.record import Record
from population.statistics.time_to_reach import MIN_BLOCKS, TimeToReach, time_to_reach
from population.variant import SHARE, Status, share_rung

Floats = dict[float, float]


@dataclass(frozen=True, slots=True)
class Level:
    """One share of the target's budget: mean scores of the seed and the best, and the best's tokens.

    self_reported_tokens: a run of the best, over a run of the seed with the whole budget.
    """

    share: float
    seed: float | None
    best: float | None
    self_reported_tokens: float | None


@dataclass(frozen=True, slots=True)
class Reaching:
    """How far it is. `budget`: in shares of the seed's budget; None while runs are missing, as `missing` says.

    self_reported_tokens: the same in shares of the seed's tokens, which both runs tell of themselves.
    """

    variant_id: str
    rung: str
    metric: str
    levels: tuple[Level, ...]
    budget: TimeToReach | None
    self_reported_tokens: TimeToReach | None
    missing: str


def reaching(record: Record) -> Reaching | None:
    """The headline of a campaign; None where no shares of the budget are trained."""
    best, target = record.ladder.reaching, record.rungs[-1] if record.rungs else ""
    if best is None or best in record.ladder.vetoed:
        return None
    shares = _shares(record, target)
    sign = 1.0 if record.objective.direction == "minimise" else -1.0
    scores = {share: _by_variant(record, share_rung(target, share)) for share in shares}
    seed = {block: sign * score for block, score in scores[1.0].get(record.seed_id, {}).items()}
    runs: dict[int, Floats] = {}
    for share in shares:
        for block, score in scores[share].get(best, {}).items():
            runs.setdefault(block, {})[share] = sign * score
    whole = {block: by for block, by in runs.items() if len(by) == len(shares) and block in seed}
    tokens = {share: _tokens(record, best, share_rung(target, share)) for share in shares}
    base = _tokens(record, record.seed_id, target)
    ratios = {share: told / base for share, told in tokens.items() if told and base}
    return Reaching(
        best,
        target,
        record.objective.name,
        tuple(
            Level(
                share,
                _mean(scores[share].get(record.seed_id, {}).values()),
                _mean(scores[share].get(best, {}).values()),
                ratios.get(share),
            )
            for share in shares
        ),
        time_to_reach(whole, seed),
        _in_tokens(whole, seed, ratios),
        "" if len(whole) >= MIN_BLOCKS else f"{len(whole)} of {MIN_BLOCKS} blocks are complete",
    )


def _shares(record: Record, target: str) -> list[float]:
    """The shares that something ran with, the whole one always among them."""
    found = {1.0}
    for run in record.runs():
        rung, mark, share = run.order.rung.partition(SHARE)
        if rung == target and mark:
            found.add(float(share))
    return sorted(found)


def _in_tokens(
    runs: dict[int, Floats], seed: dict[int, float], ratios: Floats
) -> TimeToReach | None:
    """Each share in the place of the tokens that it was good for; None where they do not grow with it."""
    told = [ratios.get(share) for share in sorted({share for by in runs.values() for share in by})]
    known = [one for one in told if one is not None]
    if len(known) < len(told) or any(a >= b for a, b in pairwise(known)):
        return None
    turned = {
        block: {ratios[share]: score for share, score in by.items()} for block, by in runs.items()
    }
    return time_to_reach(turned, seed)


def _by_variant(record: Record, rung: str) -> dict[str, dict[int, float]]:
    return block_values(record.rows, rung, record.objective.name, GRADUATING)


def _tokens(record: Record, variant_id: str, rung: str) -> float | None:
    return _mean(
        [
            float(run.self_reported_tokens)
            for run in record.runs()
            if run.order.variant_id == variant_id
            and run.order.rung == rung
            and run.status is Status.OK
        ]
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return fmean(found) if found else None
