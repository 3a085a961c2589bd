"""Where a campaign stands, in one value: what `evo status` shows and its JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evo.analysis.campaign_view import Record
from evo.analysis.findings import Findings
from evo.analysis.health import (
    Duty,
    HostDrift,
    Shadowed,
    by_status,
    drifts,
    duties,
    overhead_seconds_median,
    shadowed,
    slot_busy_share,
    stale_measurements_median,
)
from evo.analysis.imported import Imported
from evo.analysis.ladder import Terms, steps
from evo.analysis.ranking import (
    Answers,
    Earning,
    Prompts,
    Ranked,
    answers,
    earnings,
    prompts,
)
from population.types import PAIRED, SITE, CampaignState, LlmCallRow, Spent, phase_of

if TYPE_CHECKING:  # they bring a statistics library along, which a campaign's status does not need
    from evo.analysis.calibration import CalibrationReport
    from evo.analysis.forecast import RuleProgress
    from population.statistics.noise import Calibration

LAST_EVENTS = 8


@dataclass(frozen=True, slots=True)
class Used:
    """One budget: what is used and what is allowed (None: no limit)."""

    used: float
    limit: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """One campaign at a glance. `running` is the process that runs it, None for none."""

    folder: str
    name: str
    running: int | None
    state: CampaignState
    phase: str  # what it is busy with, or how it ended
    budget: Mapping[str, Used]
    measurements: Mapping[str, int]  # by status, lost ones too
    proposals: Mapping[str, int]  # by outcome
    seed: Ranked | None
    best: Ranked | None
    front_size: int
    ladder: Mapping[str, Mapping[str, int]]  # by rung: how many variants are how far
    findings: Findings
    operators: list[Earning]
    prompts: list[Prompts]  # by operator: what its calls were made of
    answers: list[Answers]  # by model: how many of its answers had to be asked for twice, and why
    duties: list[Duty]  # what the slots were used for
    voided: list[str]  # why runs do not count
    early_stopping: Shadowed
    drift: list[HostDrift]  # of the seed's reference runs, by host
    slots: int
    slot_busy_share: float | None
    overhead_seconds_median: float | None
    stale_measurements_median: float | None  # measurements that a child's proposal had not seen
    spent: Spent
    seconds_spent: float
    fresh_blocks: (
        Used | None
    )  # blocks of pairs, and of how many each has rows that nobody was asked
    events: list[str]
    certifies: bool  # whether the config in force asks for proof
    calibrates: bool  # only the seed is measured
    calibration: Calibration | CalibrationReport | None  # what a calibration found
    asked: Mapping[str, int]  # by kind: what people asked and nobody has taken yet
    stop: list[RuleProgress]  # how far each rule is that ends the search beside its budgets
    unprotected: str  # a warning where variants run without a sandbox, else ""
    imported: Imported | None  # whose numbers these are; None: measured here
    islands: Mapping[str, int] = field(
        default_factory=dict
    )  # children by name, where there are several
    tolerances: Mapping[str, str] = field(default_factory=dict)  # by rung: what the seed set
    seconds_left: float | None = None  # to the expected end of what runs


def overview(
    record: Record,
    findings: Findings,
    folder: str,
    running: int | None,
    limits: Mapping[str, float | None],
    terms: Terms,
    calls: Sequence[LlmCallRow],
    certifies: bool,
    calibrates: bool = False,
    calibration: Calibration | CalibrationReport | None = None,
    stop: Sequence[RuleProgress] = (),
) -> Overview:
    """Everything at a glance; `limits` are the budgets in force by name, `terms` the ladder's."""
    attempts = [row.measurement for row in record.attempts]
    spent, (state, phase) = record.spent, _state(record, running)
    used = {
        "variants": measured_children(record),
        "seconds": record.seconds_spent,
        "llm_tokens": spent.tokens_in + spent.tokens_out,
        "llm_dollars": spent.dollars,
    }
    return Overview(
        folder=folder,
        name=str(record.config.get("name", "campaign")),
        running=running,
        state=state,
        phase=phase,
        budget={name: Used(used[name], limits.get(name)) for name in used},
        measurements=by_status(attempts),
        proposals=dict(Counter(made.outcome.value for made in record.proposals if made.parents)),
        seed=findings.seed,
        best=next(iter(findings.front), None),
        front_size=len(record.front),
        ladder=_ladder(record, terms),
        findings=findings,
        operators=earnings(record),
        prompts=prompts(calls),
        answers=answers(calls),
        duties=duties(attempts),
        voided=list(record.voided),
        early_stopping=shadowed(record),
        drift=drifts(record, findings.noise),
        slots=record.slots(),
        slot_busy_share=slot_busy_share(attempts, record.slots(), record.starts()),
        overhead_seconds_median=overhead_seconds_median(attempts),
        stale_measurements_median=stale_measurements_median(record.attempts, record.proposals),
        spent=spent,
        seconds_spent=record.seconds_spent,
        fresh_blocks=_fresh_blocks(record),
        events=[event.text for event in record.events[-LAST_EVENTS:]],
        certifies=certifies,
        calibrates=calibrates,
        calibration=calibration,
        asked=dict(Counter(one.kind for one in record.asked)),
        stop=list(stop),
        unprotected=record.unprotected() if record.imported is None else "",
        imported=record.history(),
        tolerances=record.tolerances,
        islands=Counter(one.island for one in record.births().values() if one.island),
    )


def measured_children(record: Record) -> int:
    """Children with a run at the proxy that was not lost: those that wait are proposals so far."""
    seen = {run.request.variant_id for run in record.runs() if run.request.rung == record.proxy}
    return len(seen - {record.seed_id})


def _fresh_blocks(record: Record) -> Used | None:
    """Up to the last block that pairs were compared on; None where the text holds no rows for any."""
    if not record.fresh_blocks:
        return None
    asked = [run.request for run in record.runs() if run.request.purpose in PAIRED]
    used = max((one.block % SITE + 1 for one in asked if one.rung == record.proxy), default=0)
    return Used(used, record.fresh_blocks)


def _ladder(record: Record, terms: Terms) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for one in steps(record, terms):
        found.setdefault(one.rung, Counter())[one.state.value] += 1
    return {rung: dict(states) for rung, states in found.items()}


def _state(record: Record, running: int | None) -> tuple[CampaignState, str]:
    """How far it is, and that in words."""
    if running is not None:
        idle = "between runs" if record.attempts else "starting"
        busy = phase_of([run.request.purpose for run in record.in_flight]) or idle
        return CampaignState.RUNNING, busy
    ends = [event.text for event in record.events if event.kind == "end"]
    starts = record.starts()
    last_end = max((e.created_at for e in record.events if e.kind == "end"), default=0.0)
    if starts and starts[-1] > last_end:
        state = CampaignState.INTERRUPTED
        return state, f"{state}; `evo resume` goes on from here"
    if not ends:
        return CampaignState.NOT_STARTED, CampaignState.NOT_STARTED.value
    return CampaignState.of_ending(ends[-1]), ends[-1]
