"""What a store says about its campaign, read once and handed to every figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self, TypeVar

from evo.analysis.imported import IMPORT, Imported, imported
from evo.old_keys import current
from population.archive import DEFAULT_OBJECTIVES, Constraint, Objective
from population.islands import CHECKED
from population.ladder import KINDS, Ladder
from population.lineage import births
from population.reading import (
    beliefs,
    decisions,
    events,
    facts_by_measurement,
    front,
    measurements,
    open_runs,
    pending,
    proposals,
    seed,
    spent,
    tolerances,
    voided,
)
from population.statistics import DISQUALIFYING, block_means
from population.statistics.blocks import BlockMeans
from population.statistics.stopping import WOULD_STOP
from population.store import Store, StoreError
from population.types import (
    DERIVED,
    Estimate,
    Event,
    Measurement,
    MeasurementRow,
    OpenRun,
    ProposalRow,
    RequestRow,
    Spent,
    Status,
)

if TYPE_CHECKING:
    from population.beliefs import RungBeliefs
    from population.lineage import Lineage

Made = TypeVar("Made")

START = "start"  # the kind of the event that a process writes when it starts or resumes a campaign
VERDICT, CERTIFIED = (
    "verdict",
    "certified",
)  # the decision that ends a certification, and its outcome
WARNING = "warning"  # of the event that says so when variants run unprotected
EVENTS_READ = 1000
UNPROTECTED = (
    "sandbox: none: what models and operators write runs with all your rights, unprotected "
    "(docs/security.md)"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One campaign's rows. `rows` are without lost runs, `attempts` with them, both in order."""

    config: Mapping[str, Any]
    objectives: tuple[Objective, ...]
    rungs: tuple[str, ...]  # the ladder, the proxy first
    seed_id: str
    rows: list[MeasurementRow]
    attempts: list[MeasurementRow]
    proposals: list[ProposalRow]
    front: Mapping[str, str]  # at the proxy: member to standing
    believed: Mapping[str, Mapping[str, Estimate]]  # at the proxy: the campaign's own words
    spent: Spent
    seconds_spent: float
    events: list[Event]
    in_flight: list[OpenRun]
    voided: Sequence[str]  # why runs do not count, one reason a run
    would_stop: Mapping[str, float]  # variant to slot seconds, had early stopping acted
    certified: Mapping[str, Mapping[str, Any]]  # who was proven better, and by what evidence
    ladder: Ladder  # with what people asked that no campaign has taken yet
    asked: Sequence[RequestRow]  # what people asked and no campaign has taken yet
    imported: Mapping[str, Any] | None  # what its numbers were taken over from; None: measured here
    fresh_blocks: int  # that the text holds rows for which nobody was asked; 0: none, or not known
    tolerances: Mapping[
        str, str
    ]  # by rung: how far the servers of a model may be apart, where the seed set it
    tested: Mapping[str, int]  # by a sceptic: variant to its last row that chose it
    facts: Mapping[int, Mapping[str, str]]  # of an import's measurements, by id; else empty

    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, store: Store) -> Self:
        """Everything the figures need. StoreError for a store without a seed."""
        config, _ = current(store.setting("config", {}))
        attempts = measurements(store, statuses=list(Status))
        rungs = tuple(config.get("rungs", {})) or _rungs_in(attempts)
        seed_id = seed(store)
        if seed_id is None:
            raise StoreError(f"{store.path} holds no seed; it was never a campaign")
        ladder = Ladder.of(decisions(store, KINDS))
        asked = pending(store)
        ladder.hear(asked)
        ladder.constraints = [
            Constraint.model_validate(one) for one in config.get("constraints", ())
        ]
        about = store.setting(IMPORT)
        return cls(
            config=config,
            objectives=tuple(map(Objective.model_validate, config.get("objectives", ())))
            or DEFAULT_OBJECTIVES,
            rungs=rungs,
            seed_id=seed_id,
            rows=[row for row in attempts if row.measurement.status is not Status.LOST],
            attempts=attempts,
            proposals=proposals(store),
            front=front(store, rungs[0]) if rungs else {},
            believed=beliefs(store, rungs[0]) if rungs else {},
            spent=spent(store),
            seconds_spent=float(store.setting("seconds_spent", 0.0)),
            events=events(store, limit=EVENTS_READ),
            in_flight=open_runs(store),
            voided=[reason for _, reason in voided(store)],
            would_stop={
                str(one.variant_id): float(one.detail["saves_seconds"])
                for one in decisions(store, (WOULD_STOP,))
            },
            certified={
                str(one.variant_id): one.detail
                for one in decisions(store, (VERDICT,))
                if one.detail.get("verdict") == CERTIFIED
            },
            ladder=ladder,
            asked=asked,
            imported=about,
            fresh_blocks=int(store.setting("fresh_blocks", 0)),
            tolerances=tolerances(store),
            tested={
                str(one.variant_id): int(one.detail["chosen_by"])
                for one in decisions(store, (CHECKED,))
            },
            facts=facts_by_measurement(store) if about is not None else {},
        )

    @property
    def objective(self) -> Objective:
        """The first objective: what `best` means."""
        return self.objectives[0]

    @property
    def proxy(self) -> str:
        """The first rung's name; "" before anything is known."""
        return self.rungs[0] if self.rungs else ""

    def scale_in_words(self, rung: str) -> str:
        """A rung in words, as the config has it; "" where it says nothing of its depth."""
        rungs = self.config.get("rungs")
        one = rungs.get(rung) if isinstance(rungs, Mapping) else None
        if not isinstance(one, Mapping) or "depth" not in one:
            return ""
        clock = str(self.config.get("clock", "auto")).replace("_", " ").replace("auto", "seconds")
        budget = f"{one.get('budget')}".removesuffix(".0")
        if (self.config.get("task") or {}).get("kind") == "command":
            return f"at most {budget} seconds a run"
        return f"depth {one.get('depth')}, context {one.get('context', 128)}, {budget} {clock}"

    def unprotected(self) -> str:
        """A warning where this campaign's config runs variants without a sandbox, else ""."""
        sandbox = self.config.get("sandbox")
        mode = sandbox.get("mode") if isinstance(sandbox, Mapping) else sandbox
        return UNPROTECTED if mode == "none" else ""

    def runs(self) -> list[Measurement]:
        """The measurements alone, lost ones left out."""
        return [row.measurement for row in self.rows]

    def slots(self) -> int:
        """How many slots have measured something or are about to."""
        measured = {(row.measurement.host, row.measurement.slot) for row in self.attempts}
        names = {slot for _, slot in measured}
        return len(measured) + len({run.slot for run in self.in_flight} - names)

    def starts(self) -> list[float]:
        """When processes started or resumed it, seconds since the epoch."""
        return [event.created_at for event in self.events if event.kind == START]

    def new_beliefs(self) -> RungBeliefs:
        """What a campaign with this config believes before its first row."""
        from population.beliefs import RungBeliefs

        family = self.family()
        ladder = self.ladder
        return RungBeliefs(self.seed_id, self.objectives, ladder.constraints, ladder.vetoed, family)

    def beliefs(self) -> RungBeliefs:
        """What is believed at the proxy by all rows: as the campaign does it, for stores without its word."""

        def read() -> RungBeliefs:
            found = self.new_beliefs()
            for row in self.believable():
                found.add(row)
            return found

        return self.once("beliefs", read)

    def means(self) -> tuple[dict[str, dict[str, Estimate]], dict[str, dict[str, float]]]:
        """What runs at the proxy average to, by variant and metric: less what blocks do, nothing shrunk.

        And by how much an sd that rests on them is widened where it is shown (`BlockMeans.widening`).
        """
        if self.imported is not None:  # no two of its runs share a block: they only number repeats
            plain = {
                one: {
                    metric: Estimate(fmean(scores.values()), math.nan, len(scores))
                    for metric, scores in metrics.items()
                }
                for one, metrics in block_means(self.believable(), self.seed_id).items()
            }
            return plain, {}
        by_metric: dict[str, BlockMeans] = {}
        metrics_of: dict[str, dict[str, None]] = {}
        disqualified = set[str]()
        for row in self.believable():  # in order, as the campaign took them in
            one, run = row.measurement.request.variant_id, row.measurement
            if run.status in DISQUALIFYING and one != self.seed_id:
                disqualified.add(one)
                for metric in metrics_of.pop(one, {}):
                    by_metric[metric].drop(one)
            if run.status is not Status.OK or one in disqualified:
                continue
            for metric, value in run.metrics.items():
                if metric not in by_metric:
                    by_metric[metric] = BlockMeans(self.seed_id)
                by_metric[metric].add(one, run.request.block, value)
                metrics_of.setdefault(one, {})[metric] = None
        means: dict[str, dict[str, Estimate]] = {one: {} for one in metrics_of}
        for metric, levels in by_metric.items():
            for one, mean in levels.estimates(metrics_of):
                means[one][metric] = mean
        wider = {
            one: {metric: by_metric[metric].widening(one) for metric in metrics}
            for one, metrics in means.items()
        }
        return means, wider

    def at_proxy(self) -> list[MeasurementRow]:
        """The rows of the first rung."""
        proxy = self.proxy
        return self.once(
            "proxy", lambda: [row for row in self.rows if row.measurement.request.rung == proxy]
        )

    def believable(self) -> list[MeasurementRow]:
        """The rows of the first rung that say what is believed: of what a sceptic tested, those since then."""
        return [
            row
            for row in self.at_proxy()
            if row.id > self.tested.get(row.measurement.request.variant_id, 0)
        ]

    def births(self) -> dict[str, ProposalRow]:
        """Each variant's first proposal, parents before children: lineage follows it."""
        return self.once("births", lambda: births(self.proposals))

    def family(self) -> Lineage:
        """Who descends from whom."""
        from population.lineage import Lineage

        return self.once("family", lambda: Lineage.of_proposals(self.proposals))

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What `make` gives, made the first time that it is asked for by this name. Nobody changes it."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made

    def history(self) -> Imported | None:
        """What can be said of an import's self-reported numbers; None where they were measured here."""
        if self.imported is None:
            return None
        return imported(self.imported, self.rows, self.facts, self.objective)

    def waiting(self) -> list[str]:
        """Children without a run at the proxy that no person rejected."""
        ran = {run.request.variant_id for run in self.runs() if run.request.rung == self.proxy}
        known = {self.seed_id, *ran, *self.ladder.vetoed}
        return [one for one in self.births() if one not in known]

    def chain(self, variant_id: str) -> list[ProposalRow]:
        """The proposals from the seed to a variant along first parents, the seed's own first."""
        births = self.births()
        chain: list[ProposalRow] = []
        here: str | None = variant_id
        while here is not None and here in births:
            chain.append(births[here])
            here = births[here].parents[0].variant_id if births[here].parents else None
        return chain[::-1]


def _rungs_in(rows: list[MeasurementRow]) -> tuple[str, ...]:
    names = dict.fromkeys(row.measurement.request.rung for row in rows)
    return tuple(name for name in names if DERIVED not in name)
