"""From a running campaign to a Frame: from memory, with one small read of new proposals a measurement."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evo.terminal.frame import EventFrame, Frame, Gap, Limit, OperatorFrame, Score, SlotFrame, Way
from evo.terminal.numbers import duration
from evo.terminal.text import short
from population.reading import proposals
from population.store import Store, StoreError
from population.variant import Outcome, Purpose

if TYPE_CHECKING:
    from evo.analysis.forecast import Plan
    from evo.runtime.campaign import Campaign
    from evo.runtime.monitor import SlotView
    from population.records import ProposalRow

EVENTS = 8


@dataclass(slots=True)
class _Family:
    """What the proposals so far say, by operator and by child."""

    last_number: int = 0
    births: dict[str, ProposalRow] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    def read(self, store: Store) -> None:
        for made in proposals(store, after=self.last_number):
            self.last_number = made.number
            if made.outcome is Outcome.VARIANT and made.variant_id is not None:
                self.births.setdefault(made.variant_id, made)
            else:
                self.failed[made.operator] = self.failed.get(made.operator, 0) + 1


@dataclass(frozen=True, slots=True)
class _Standing:
    """What only a new measurement can change."""

    best: Score | None = None
    seed: Score | None = None
    front_size: int = 0
    measured: int = 0  # children
    waiting: frozenset[str] = frozenset()
    operators: tuple[OperatorFrame, ...] = ()
    gap: Gap | None = None
    way: Way | None = None


class Frames:
    """Draws up frames of one campaign; `notice` may be set from a signal handler."""

    def __init__(self, campaign: Campaign, name: str, plan: Plan | None = None) -> None:
        self.notice = ""
        self._parts = campaign.parts
        self._name = name
        self._plan = plan
        self._family = _Family()
        self._lock = threading.Lock()
        self._seen = -1
        self._standing = _Standing()

    def frame(self) -> Frame:
        """This moment. Called from the view's thread, never from a signal handler."""
        board, tally = self._parts.board, self._parts.tally
        with self._lock:
            if tally.last_id() != self._seen:
                self._seen = tally.last_id()
                self._standing = self._stand()
            standing = self._standing
        views = board.slots()
        taken = {view.order.variant_id for view in views if view.order is not None}
        return Frame(
            name=self._name,
            phase=board.phase,
            seconds=self._parts.budget.spent().seconds,
            limits=self._limits(standing.measured),
            slots=[self._slot(view) for view in views],
            best=standing.best,
            seed=standing.seed,
            minimise=tally.objectives[0].direction == "minimise",
            front_size=standing.front_size,
            waiting=len(standing.waiting - taken),
            events=[EventFrame(one.at, one.kind, one.text) for one in board.events(EVENTS)],
            operators=standing.operators,
            notice=self.notice,
            gap=standing.gap,
            way=standing.way,
        )

    def _limits(self, measured: int) -> list[Limit]:
        spent, limits = self._parts.budget.spent(), self._parts.budget.limits
        found = []
        if limits.variants is not None:
            text = f"{measured:,} of {limits.variants:,} measured, {spent.variants:,} proposed"
            found.append(Limit("variants", measured, limits.variants, text))
        if limits.seconds is not None:
            text = f"{duration(spent.seconds)} of {duration(limits.seconds)}"
            found.append(Limit("time", spent.seconds, limits.seconds, text))
        if limits.llm_tokens is not None:
            text = f"{spent.llm_tokens:,} of {limits.llm_tokens:,}"
            found.append(Limit("LLM tokens", spent.llm_tokens, limits.llm_tokens, text))
        if limits.llm_dollars is not None:
            text = f"{spent.llm_dollars:.2f} of {limits.llm_dollars:.2f}"
            found.append(Limit("LLM dollars", spent.llm_dollars, limits.llm_dollars, text))
        return found

    def _slot(self, view: SlotView) -> SlotFrame:
        order = view.order
        if order is None:
            return SlotFrame(view.name)
        points = list(view.points)
        return SlotFrame(
            name=view.name,
            who=self._who(order.variant_id),
            rung=order.rung,
            block=order.block,
            purpose=order.purpose.value,
            seconds=time.monotonic() - view.since,
            progress=points[-1].progress if points and math.isfinite(points[-1].progress) else None,
            losses=[point.loss for point in points],
        )

    def _who(self, variant_id: str) -> str:
        return "seed" if variant_id == self._parts.tally.seed_id else short(variant_id)

    def _stand(self) -> _Standing:
        tally, proxy = self._parts.tally, self._parts.proxy
        try:
            with self._parts.open_store() as store:
                self._family.read(store)
        except StoreError:
            pass  # someone holds the database: the next measurement brings the next try
        front = tally.front(proxy)
        screened = {row.measurement.order.variant_id for row in tally.rows(proxy)}
        others = [one for one in front[:1] if one != tally.seed_id]
        return _Standing(
            gap=self._gap(others[0]) if others else None,
            way=self._way(),
            best=self._score(front[0], front) if front else None,
            seed=self._score(tally.seed_id, front),
            front_size=len(front),
            measured=len(screened - {tally.seed_id}),
            waiting=frozenset(self._family.births.keys() - screened),
            operators=tuple(self._operators(front)),
        )

    def _gap(self, variant_id: str) -> Gap | None:
        from evo.analysis.findings import shown_beside_seed

        tally, proxy = self._parts.tally, self._parts.proxy
        pair = (variant_id, tally.seed_id)
        rows = [row for one in pair for row in tally.rows(proxy, variant_id=one)]
        found = shown_beside_seed(rows, *pair, proxy, tally.objectives[0])
        return None if found is None else Gap(found.gain, found.n, found.se)

    def _way(self) -> Way | None:
        from evo.analysis.forecast import outlook
        from evo.analysis.progress import run_seconds

        if self._plan is None:
            return None
        tally = self._parts.tally
        runs = [row.measurement for rung in tally.rungs() for row in tally.rows(rung)]
        rungs = [
            replace(rung, measured_seconds=run_seconds(runs, rung.name))
            for rung in self._plan.rungs
        ]
        races = sum(run.order.purpose is Purpose.RACE for run in runs)
        spent = sum(run.wall_seconds for run in runs)
        found = outlook(replace(self._plan, rungs=rungs), len(runs), races, spent)
        return None if found is None else Way(len(runs), found.runs, found.seconds_left)

    def _score(self, variant_id: str, front: list[str]) -> Score | None:
        tally, proxy = self._parts.tally, self._parts.proxy
        metric = tally.objectives[0].name
        found = tally.means(proxy).get(variant_id, {}).get(metric)
        if found is None:
            return None
        belief = tally.beliefs(proxy)[variant_id][metric].mean if variant_id in front else None
        return Score(self._who(variant_id), metric, found.mean, found.sd, found.n, belief)

    def _operators(self, front: list[str]) -> list[OperatorFrame]:
        """Children measured, and how many beat their parent: by the same rule as in `evo status`."""
        from evo.analysis.ranking import gains_over_parents

        births, tally, proxy = self._family.births, self._parts.tally, self._parts.proxy
        rows = tally.rows(proxy)
        gains = gains_over_parents(rows, births, proxy, tally.objectives[0])
        children = {
            row.measurement.order.variant_id
            for row in rows
            if row.measurement.order.purpose is Purpose.SCREEN
        }
        by_operator: dict[str, list[str]] = {name: [] for name in self._family.failed}
        for child, made in births.items():
            if child in children:
                by_operator.setdefault(made.operator, []).append(child)
        return [
            OperatorFrame(
                name=name,
                children=len(made),
                failed=self._family.failed.get(name, 0),
                better=sum(gains.get(one, 0.0) > 0 for one in made),
                on_front=sum(one in front for one in made),
            )
            for name, made in by_operator.items()
        ]
