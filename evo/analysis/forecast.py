"""What a campaign will take, before it starts: from its budgets, or from its own runs once it has some."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evo.analysis.health import run_seconds
from population.types import ABLATING, CHECKS, RACING, Measurement

OVERHEAD_SECONDS = (
    5.0  # two serving processes, scoring and the audit beside training, on a CPU core
)
STARTUP_SECONDS = 3.0  # importing torch and building a small model, before it is measured
STORE_MB_A_RUN = 0.03  # curve, bits per document, scores and the child's source
DATA_MB = 15.0  # the prepared text and one workspace a slot


@dataclass(frozen=True, slots=True)
class RungPlan:
    """One rung: seconds of training a run (None where the clock counts tokens and nothing is measured).

    `measured_seconds`: the mean slot seconds of a run here, once there are any.
    """

    name: str
    train_seconds: float | None
    startup_seconds: float | None = None
    measured_seconds: float | None = None

    @property
    def run_seconds(self) -> float | None:
        """Slot seconds of one run."""
        if self.measured_seconds is not None:
            return self.measured_seconds
        training = self.training_seconds
        return None if training is None else training + OVERHEAD_SECONDS

    @property
    def training_seconds(self) -> float | None:
        """Of them, from the start to the end of the training."""
        if self.train_seconds is None:
            return None
        startup = STARTUP_SECONDS if self.startup_seconds is None else self.startup_seconds
        return startup + self.train_seconds


@dataclass(frozen=True, slots=True)
class RungWork:
    """What the ladder may ask of a rung at most: variants to build there, and whole runs.

    Runs with a share of the budget count as that share.
    """

    builds: int
    runs: float


@dataclass(frozen=True, slots=True)
class RuleProgress:
    """How far a rule of `stop` is, in words; `limit` is what it was asked, `variant_id` who reached a target.

    `part`: of the way, 0 to 1, where it can be counted.
    """

    rule: str
    limit: Any
    is_reached: bool
    words: str
    variant_id: str = ""
    part: float | None = None

    @property
    def line(self) -> str:
        """With its key: "stop.until: at 2026-03-04 07:00"."""
        return f"stop.{self.rule}: {self.words}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign is about to do; None means no limit."""

    slots: int
    rungs: Sequence[RungPlan]
    seed_runs: int
    remeasure_share: float
    final_blocks: int
    variants: int | None
    seconds: float | None
    ladder: Mapping[str, RungWork] = field(default_factory=dict)  # by rung
    llm_operators: Sequence[str] = ()
    llm_unavailable: str = ""  # which operators are unavailable without a key, in words
    llm_tokens: int | None = None
    llm_dollars: float | None = None
    reference_every: int = 0  # runs of the search between two references; 0: not known
    race_share: float = 0.0  # of the search's runs, for the leaders' race after it
    race_runs: int = 0  # what certification takes at most
    measured_variants: int = 0  # already proposed, when a campaign goes on
    waiting_children: int = 0  # of them those that are still to be measured
    asks_before_ladder: bool = False  # nothing goes up without approval
    leaders: int = 0  # in the race after the search, at most
    fresh_blocks: int = 0  # beside that race, at most
    fresh_blocks_held: int | None = None  # on rows that nobody was asked; None: not counted
    stop: Sequence[RuleProgress] = ()  # what ends the search beside its budgets
    warnings: Sequence[str] = ()  # what a person should know before it starts
    ends_itself: bool = False  # a run ends when it is done; the rung's budget is its limit


@dataclass(frozen=True, slots=True)
class Forecast:
    """The answer; None where it cannot be known yet. `ends_by` names the limit that ends the search."""

    slots: int
    seconds_a_run: float | None
    children_an_hour: float | None
    children: int | None
    runs: int | None
    seconds: float | None
    ends_by: str
    race_runs: int
    disk_mb: float | None
    llm_operators: tuple[str, ...]
    llm_unavailable: str
    llm_tokens: int | None
    llm_dollars: float | None
    measured: bool  # whether the seconds come from runs of this campaign
    at_most: bool  # whether they are limits, and how long a run takes is not known yet
    by_rung: Mapping[str, float | None]
    ladder_seconds: float | None  # after an approval, beyond `seconds`; None: nobody is asked
    fresh_blocks: int | None  # that pairs are compared on, at most
    fresh_blocks_held: int | None  # by the text, each on rows that nobody was asked before
    stop: tuple[RuleProgress, ...]  # what ends the search beside its budgets
    warnings: tuple[str, ...]


def forecast(plan: Plan) -> Forecast:
    """What `plan` takes. Slots are assumed always busy and no child to be rejected."""
    run = plan.rungs[0].run_seconds
    an_hour = None if run is None else plan.slots * 3600 / run / _runs_a_child(plan)
    children, search, ends_by = _search(plan, an_hour)
    runs = None if children is None else _runs(plan, children)
    seconds = None
    if search is not None and run is not None and runs is not None:
        first = run * math.ceil(plan.seed_runs / plan.slots) if not plan.measured_variants else 0.0
        race = plan.race_share * search
        seconds = first + search + race + _closing(plan, run)
    climbing = _climbing(plan)
    if seconds is not None and not plan.asks_before_ladder:
        seconds += climbing
    return Forecast(
        slots=plan.slots,
        seconds_a_run=run,
        children_an_hour=an_hour,
        children=children,
        runs=runs,
        seconds=seconds,
        ends_by=ends_by,
        race_runs=plan.race_runs,
        disk_mb=None if runs is None else DATA_MB + STORE_MB_A_RUN * runs,
        llm_operators=tuple(plan.llm_operators),
        llm_unavailable=plan.llm_unavailable,
        llm_tokens=plan.llm_tokens if plan.llm_operators else 0,
        llm_dollars=plan.llm_dollars if plan.llm_operators else 0.0,
        measured=plan.rungs[0].measured_seconds is not None,
        at_most=plan.ends_itself and plan.rungs[0].measured_seconds is None,
        by_rung={rung.name: rung.run_seconds for rung in plan.rungs},
        ladder_seconds=climbing if plan.asks_before_ladder and climbing else None,
        fresh_blocks=None if children is None else _fresh_blocks(plan, children),
        fresh_blocks_held=plan.fresh_blocks_held,
        stop=tuple(plan.stop),
        warnings=tuple(plan.warnings),
    )


def _search(plan: Plan, an_hour: float | None) -> tuple[int | None, float | None, str]:
    """Children still to be measured, seconds of search, and which limit ends it."""
    unproposed = None if plan.variants is None else max(0, plan.variants - plan.measured_variants)
    left = None if unproposed is None else unproposed + plan.waiting_children
    by_variants = None if left is None or an_hour is None else 3600 * left / an_hour
    seconds = None if plan.seconds is None else plan.seconds * (1 - plan.race_share)
    if seconds is not None and (by_variants is None or seconds < by_variants):
        children = left if an_hour is None else int(an_hour * seconds / 3600)
        return children, seconds, "seconds"
    if left is not None:
        return left, by_variants, "variants"
    return None, None, "llm budget"


def _runs(plan: Plan, children: int) -> int:
    known = plan.seed_runs if plan.measured_variants else 0  # the seed was measured first
    return sum(runs for runs, _ in _work(plan, children)) - known


def _work(plan: Plan, children: int) -> list[tuple[int, float]]:
    """Runs of each kind with the slot seconds of one: at the proxy, and built and run above it."""
    search, race = _searching(plan, children)
    found = [(search + race + 2 * plan.final_blocks, plan.rungs[0].run_seconds or 0.0)]
    return found + _ladder_work(plan)


def _searching(plan: Plan, children: int) -> tuple[int, int]:
    """Runs of the search, the seed's among them, and of the race after it."""
    search = plan.seed_runs + math.ceil(children * _runs_a_child(plan))
    return search, int(plan.race_share * (search - plan.seed_runs))


def _fresh_blocks(plan: Plan, children: int) -> int:
    """The most that pairs may be compared on, the search's own counted with them: they are passed over."""
    from population.statistics.race import plan as race_rounds  # a status needs no forecast

    rounds = race_rounds(plan.leaders, _searching(plan, children)[1])
    return plan.fresh_blocks + (rounds[-1].upto_block if rounds else 0)


def _ladder_work(plan: Plan) -> list[tuple[int, float]]:
    """Up the ladder; the one-step builds cost start-up and overhead only."""
    found = []
    for rung in plan.rungs:
        work = plan.ladder.get(rung.name, RungWork(0, 0))
        found.append((work.builds, STARTUP_SECONDS + OVERHEAD_SECONDS))
        found.append((math.ceil(work.runs), rung.run_seconds or 0.0))
    return found


@dataclass(frozen=True, slots=True)
class Outlook:
    """A campaign under way: about how many runs it takes in all, and seconds to its end."""

    runs: int
    seconds_left: float


def outlook_of(plan: Plan, runs: Sequence[Measurement]) -> Outlook | None:
    """The outlook after these runs, of any rung; None when no budget says so."""
    rungs = [replace(one, measured_seconds=run_seconds(runs, one.name)) for one in plan.rungs]
    unplanned = sum(run.request.purpose in RACING | CHECKS | ABLATING for run in runs)
    spent = sum(run.wall_seconds for run in runs)
    return outlook(replace(plan, rungs=rungs), len(runs), unplanned, spent)


def outlook(plan: Plan, done: int, unplanned: int, slot_seconds: float) -> Outlook | None:
    """Where `done` runs of `slot_seconds` in all have led; None when no budget says so.

    `plan` is of the whole campaign, with measured seconds where there are any. `unplanned`: those of the runs
    that come as they are needed, for proof and for checks, and shorten nothing that is still to come.
    """
    run = plan.rungs[0].run_seconds
    if run is None:
        return None
    children, _, _ = _search(plan, plan.slots * 3600 / run / _runs_a_child(plan))
    if children is None:
        return None
    work = [*_work(plan, children), (unplanned, run)]
    left = sum(runs * seconds for runs, seconds in work) - slot_seconds
    return Outlook(max(sum(runs for runs, _ in work), done), max(0.0, left) / plan.slots)


def _runs_a_child(plan: Plan) -> float:
    """Runs of the search for each child: its own, re-measuring, references."""
    runs = 1 / (1 - plan.remeasure_share)
    return runs * (1 + 1 / plan.reference_every) if plan.reference_every else runs


def _closing(plan: Plan, run: float) -> float:
    """Seconds of the final comparison, and of what comes before anybody goes up: builds, fresh runs."""
    builds, fresh = _ladder_work(plan)[0::2], _ladder_work(plan)[1:2]
    work = [(2 * plan.final_blocks, run), *builds, *fresh]
    return sum(at * math.ceil(runs / plan.slots) for runs, at in work)


def _climbing(plan: Plan) -> float:
    """Seconds of whole runs above the proxy."""
    return sum(at * math.ceil(runs / plan.slots) for runs, at in _ladder_work(plan)[3::2])
