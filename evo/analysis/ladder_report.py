"""Everything about a campaign's ladder in one value: what `evo ladder` shows and its JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import Comparison, claimed_values, compare
from evo.analysis.edits import kinds_of_edit
from evo.analysis.findings import KnobChange, changed_knobs, changed_lines
from evo.analysis.forecast import RungPlan
from evo.analysis.health import run_seconds
from evo.analysis.ladder import LadderStep, RungCost, Terms, cost_by_rung, steps
from evo.analysis.transfer import Reaching, SourceOf, Transfer, reaching, transfer
from population.ladder import LadderState, Role
from population.types import CHOSEN_BY, GRADUATING, PUBLISHED


@dataclass(frozen=True, slots=True)
class LadderReport:
    """The ladder: who stands where, what transferred, how long the best needs, and what it all cost."""

    rungs: tuple[str, ...]
    metric: str
    steps: tuple[LadderStep, ...]
    transfer: Transfer | None
    reaching: Reaching | None
    cost: tuple[RungCost, ...]


def ladder_report(record: Record, terms: Terms, source_of: SourceOf) -> LadderReport:
    """The ladder of what is recorded so far."""
    return LadderReport(
        rungs=record.rungs,
        metric=claimed_values(record.rows, record.rungs[-1], record.objective.name, GRADUATING)[0]
        if record.rungs
        else record.objective.name,
        steps=tuple(steps(record, terms)),
        transfer=transfer(record, source_of),
        reaching=reaching(record),
        cost=tuple(cost_by_rung(record)),
    )


# -- What waits for approval, with the evidence: what it is, what it gains, and what the step costs.


@dataclass(frozen=True, slots=True)
class PromotionCost:
    """A step's runs, not made yet, and their slot seconds (None: not known).

    `beside_runs` are those of the seed and the controls that the first to go up brings along.
    """

    runs: int
    slot_seconds: float | None
    beside_runs: int
    beside_slot_seconds: float | None
    measured: bool  # whether the seconds come from runs of this rung


@dataclass(frozen=True, slots=True)
class PromotionEvidence:
    """One variant that waits to go up to a rung.

    gain: over the seed at the rung below, on blocks that chose nobody (`fresh`) where there are some.
    standing: on the proxy's front, "" off it.
    """

    variant_id: str
    rung: str
    operator: str
    idea: str
    knobs: tuple[KnobChange, ...]
    lines_changed: int
    kinds: tuple[str, ...]
    gain: Comparison | None
    fresh: bool
    standing: str
    scale: float | None
    remark: str  # where it does not grow with depth like the seed
    cost: PromotionCost
    reviews: tuple[str, ...] = ()  # what each reviewer said, in words


def waiting(
    record: Record, terms: Terms, source_of: Callable[[str], str], train_seconds: list[RungPlan]
) -> list[PromotionEvidence]:
    """All that wait, the lower rungs first; `train_seconds`: what the rungs are planned to take."""
    planned = {one.name: one for one in train_seconds}
    everyone = steps(record, terms)
    return [
        _evidence(record, terms, one, everyone, source_of, planned.get(one.rung))
        for one in everyone
        if one.state is LadderState.WAITS
    ]


def _evidence(
    record: Record,
    terms: Terms,
    step: LadderStep,
    everyone: list[LadderStep],
    source_of: Callable[[str], str],
    planned: RungPlan | None,
) -> PromotionEvidence:
    one, births = step.variant_id, record.births()
    before, after = source_of(record.seed_id), source_of(one)
    pair = (record.rows, one, record.seed_id, record.proxy, record.objective)
    gain = step.below or compare(*pair, PUBLISHED)
    fresh = gain is not None
    if gain is None:
        gain = compare(*pair, CHOSEN_BY)
    return PromotionEvidence(
        variant_id=one,
        rung=step.rung,
        operator=births[one].operator if one in births else "",
        idea=births[one].idea if one in births else "",
        knobs=tuple(changed_knobs(before, after)),
        lines_changed=changed_lines(before, after),
        kinds=kinds_of_edit(before, after),
        gain=gain,
        fresh=fresh,
        standing=record.front.get(one, ""),
        scale=step.scale,
        remark=step.remark,
        cost=_cost(record, terms, step, everyone, planned),
        reviews=record.ladder.said_of(one, terms.reviewers),
    )


def _cost(
    record: Record,
    terms: Terms,
    step: LadderStep,
    everyone: list[LadderStep],
    planned: RungPlan | None,
) -> PromotionCost:
    made = [
        run.request
        for run in record.runs()
        if run.request.rung == step.rung and run.request.purpose in GRADUATING
    ]

    def missing(variant_id: str) -> int:
        return max(0, terms.blocks - sum(one.variant_id == variant_id for one in made))

    measured = run_seconds(record.runs(), step.rung)
    seconds = measured if measured is not None else (planned.run_seconds if planned else None)
    controls = [
        one.variant_id
        for one in everyone
        if one.rung == step.rung
        and one.role is Role.CONTROL
        and one.state is not LadderState.NOT_BUILT
    ]
    runs, beside = missing(step.variant_id), sum(map(missing, (record.seed_id, *controls)))
    return PromotionCost(
        runs,
        None if seconds is None else runs * seconds,
        beside,
        None if seconds is None else beside * seconds,
        measured is not None,
    )
