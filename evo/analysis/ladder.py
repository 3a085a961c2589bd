"""Where everyone stands on the ladder: in which role, how far, and how that compares with the seed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import Comparison, compare
from population.ladder import LadderEntry, LadderState, Role, growth_remark
from population.types import DERIVED, GRADUATING, ONE_STEP, Measurement, Purpose, Status


@dataclass(frozen=True, slots=True)
class Terms:
    """What of the ladder's settings the figures need; the defaults are those of the settings."""

    manual: bool = True
    blocks: int = 2
    reviewers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LadderStep:
    """One climber at one rung. `reason` says why it is not built or failed, or who vetoed it.

    below: compared with the seed at the rung below, at the proxy on blocks that chose nobody; here: at this
    rung. scale: its parameters over the seed's there (None: not built); `remark`: whether it grows with depth.
    """

    variant_id: str
    rung: str
    role: Role
    state: LadderState
    reason: str
    scale: float | None
    below: Comparison | None
    here: Comparison | None
    remark: str = ""


def steps(record: Record, terms: Terms) -> list[LadderStep]:
    """All who stand for a rung now, the lower rungs first, in the order they were chosen."""
    upper = record.rungs[1:]
    climbers = [one for rung in upper for one in record.ladder.climbers(rung)]
    left = [
        one
        for one in record.ladder.ever.values()
        if one.rung in upper
        and (
            one.variant_id in record.ladder.vetoed
            or (one not in climbers and _is_unfit(record, one))
        )
    ]
    return [_step(record, one, terms) for one in (*climbers, *left)]


def _is_unfit(record: Record, climber: LadderEntry) -> bool:
    mine, seed = (_built(record, who, climber.rung) for who in (climber.variant_id, record.seed_id))
    return bool(record.ladder.misfit(mine, seed, climber.rung))


def beside_seed(record: Record, variant_id: str, rung: str) -> Comparison | None:
    """Paired with the seed by the ladder's own runs, so at the proxy on blocks that chose nobody."""
    pair = (variant_id, record.seed_id, rung)
    return compare(record.rows, *pair, record.objective, GRADUATING)


def _step(record: Record, climber: LadderEntry, terms: Terms) -> LadderStep:
    one, rung = climber.variant_id, climber.rung
    mine, seed = (_built(record, who, rung) for who in (one, record.seed_id))
    state, reason = _state(record, climber, terms, mine, seed)
    return LadderStep(
        one,
        rung,
        climber.role,
        state,
        reason,
        _scale(mine, seed),
        beside_seed(record, one, record.rungs[record.rungs.index(rung) - 1]),
        beside_seed(record, one, rung),
        growth_of(record, one, rung),
    )


def _state(
    record: Record,
    climber: LadderEntry,
    terms: Terms,
    mine: Measurement | None,
    seed: Measurement | None,
) -> tuple[LadderState, str]:
    state = record.ladder.state(climber, mine, seed, terms.manual, terms.reviewers)
    if state[0] in (LadderState.VETOED, LadderState.NOT_BUILT):
        return state
    runs = _runs(record, climber.variant_id, climber.rung, GRADUATING)
    failed = next((run for run in runs if run.status is not Status.OK), None)
    if failed is not None:
        return LadderState.FAILED, f"{failed.status}: {failed.reason}"
    if len(runs) >= terms.blocks:
        return LadderState.RAN, _seed_failure(record, climber.rung)
    return state


def _seed_failure(record: Record, rung: str) -> str:
    """Why there is nothing to compare with at a rung; "" where the seed has a score or no run yet."""
    runs = _runs(record, record.seed_id, rung, GRADUATING)
    if not runs or any(run.status is Status.OK for run in runs):
        return ""
    return (
        f"but the seed gave no score there ({runs[0].status}: {runs[0].reason}), so nobody goes on"
    )


def _built(record: Record, variant_id: str, rung: str) -> Measurement | None:
    return next(iter(_runs(record, variant_id, rung + ONE_STEP)), None)


def _runs(
    record: Record, variant_id: str, rung: str, purposes: Collection[Purpose] = tuple(Purpose)
) -> list[Measurement]:
    return [
        run
        for run in record.runs()
        if run.request.rung == rung
        and run.request.variant_id == variant_id
        and run.request.purpose in purposes
    ]


def growth_of(record: Record, variant_id: str, rung: str) -> str:
    """Whether it grows with depth like the seed up to a rung; "" where it does, or that is not known."""
    mine, seed = (_built(record, one, rung) for one in (variant_id, record.seed_id))
    if mine is None or seed is None or not (mine.status is seed.status is Status.OK):
        return ""
    at_proxy = [
        next((run for run in _runs(record, one, record.proxy) if run.status is Status.OK), None)
        for one in (variant_id, record.seed_id)
    ]
    pairs = [
        (below.metrics["parameters"], there.metrics["parameters"])
        for below, there in zip(at_proxy, (mine, seed), strict=True)
        if below is not None and "parameters" in there.metrics
    ]
    return growth_remark(*pairs) if len(pairs) == 2 else ""


def _scale(mine: Measurement | None, seed: Measurement | None) -> float | None:
    if mine is None or seed is None or not (mine.status is seed.status is Status.OK):
        return None
    if "parameters" not in mine.metrics:  # of a command nothing is built
        return None
    return mine.metrics["parameters"] / seed.metrics["parameters"]


@dataclass(frozen=True, slots=True)
class RungCost:
    """What graduating took at a rung: its runs for one step and with shares of its budget count too."""

    rung: str
    runs: int
    slot_seconds: float


def cost_by_rung(record: Record) -> list[RungCost]:
    """Slot seconds of the ladder's runs, lost ones too, the proxy first."""
    runs = [
        one.measurement
        for one in record.attempts
        if one.measurement.request.purpose is Purpose.GRADUATE
    ]
    found = []
    for rung in record.rungs:
        here = [run for run in runs if run.request.rung.partition(DERIVED)[0] == rung]
        if here:
            found.append(RungCost(rung, len(here), sum(run.wall_seconds for run in here)))
    return found


# -- What an approval is for.


def objection_to_approving(
    record: Record, terms: Terms, variant_id: str, to: str | None
) -> str | None:
    """Why approving this variant could have no effect; None when it can."""
    if not terms.manual:
        return (
            "nothing waits for approval here: graduation.promotion is auto, and the best go up by themselves; "
            "`evo resume --set graduation.graduates=N` lets N of them"
        )
    if variant_id == record.seed_id:
        return "the seed needs no approval: it runs beside every variant that goes up"
    if len(record.rungs) < 2:
        return f"there is no rung above {record.proxy} to go up to"
    if to is not None and to not in record.rungs[1:]:
        return f"--to {to}: the rungs above {record.proxy} are {', '.join(record.rungs[1:])}"
    ok = any(
        run.request.variant_id == variant_id
        and run.request.rung == record.proxy
        and run.status is Status.OK
        for run in record.runs()
    )
    if not ok:
        return f"{variant_id[:8]} has no score at {record.proxy}, so it cannot go up"
    if not rungs_to_approve(record, terms, variant_id, to):
        return f"{variant_id[:8]} is approved for {to or 'every rung'} already"
    return None


def rungs_to_approve(record: Record, terms: Terms, variant_id: str, to: str | None) -> list[str]:
    """The rungs that an approval is for: all up to `to`, else where it waits, else the first one open."""
    upper = list(record.rungs[1:])
    still = [rung for rung in upper if not record.ladder.is_approved(variant_id, rung)]
    if to is not None:
        return [rung for rung in still if upper.index(rung) <= upper.index(to)]
    waits = [
        one.rung
        for one in steps(record, terms)
        if one.variant_id == variant_id and one.state is LadderState.WAITS
    ]
    return (waits or still)[:1]
