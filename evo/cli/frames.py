"""From a running campaign to a Frame: from memory, with one small read of new proposals a measurement."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evo.terminal.frame import EventFrame, Frame, Limit, OperatorFrame, Score, SlotFrame
from evo.terminal.numbers import duration
from evo.terminal.text import short
from population.reading import proposals
from population.store import Store, StoreError
from population.variant import Outcome, Purpose

if TYPE_CHECKING:
    from evo.campaign.board import SlotView
    from evo.campaign.campaign import Campaign
    from population.records import Proposed
    from population.variant import Estimate

EVENTS = 8


@dataclass(slots=True)
class _Family:
    """What the proposals so far say, by operator and by child."""

    last_number: int = 0
    births: dict[str, Proposed] = field(default_factory=dict)
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
    waiting: frozenset[str] = frozenset()
    operators: tuple[OperatorFrame, ...] = ()


class Frames:
    """Draws up frames of one campaign; `notice` may be set from a signal handler."""

    def __init__(self, campaign: Campaign, name: str) -> None:
        self.notice = ""
        self._parts = campaign.parts
        self._name = name
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
            limits=self._limits(),
            slots=[self._slot(view) for view in views],
            best=standing.best,
            seed=standing.seed,
            minimise=tally.objectives[0].direction == "minimise",
            front_size=standing.front_size,
            waiting=len(standing.waiting - taken),
            events=[EventFrame(one.at, one.kind, one.text) for one in board.events(EVENTS)],
            operators=standing.operators,
            notice=self.notice,
        )

    def _limits(self) -> list[Limit]:
        spent, limits = self._parts.budget.spent(), self._parts.budget.limits
        found = []
        if limits.variants is not None:
            text = f"{spent.variants:,} of {limits.variants:,}"
            found.append(Limit("variants", spent.variants, limits.variants, text))
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
            progress=points[-1].progress if points and math.isfinite(points[-1].progress) else 0.0,
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
        metric = tally.objectives[0].name
        beliefs = {
            one: found[metric] for one, found in tally.beliefs(proxy).items() if metric in found
        }
        front = tally.front(proxy)
        screened = {row.measurement.order.variant_id for row in tally.rows(proxy)}
        return _Standing(
            best=self._score(front[0], beliefs) if front else None,
            seed=self._score(tally.seed_id, beliefs),
            front_size=len(front),
            waiting=frozenset(self._family.births.keys() - screened),
            operators=tuple(self._operators(front)),
        )

    def _score(self, variant_id: str, beliefs: dict[str, Estimate]) -> Score | None:
        found = beliefs.get(variant_id)
        if found is None:
            return None
        metric = self._parts.tally.objectives[0].name
        return Score(self._who(variant_id), metric, found.mean, found.sd, found.n)

    def _operators(self, front: list[str]) -> list[OperatorFrame]:
        """Children measured, and how many beat their first parent's run on the block both had."""
        births, tally = self._family.births, self._parts.tally
        firsts: dict[
            str, float
        ] = {}  # every variant's value on block 0, sign turned to be minimised
        children: set[str] = set()
        for row in tally.rows(self._parts.proxy):
            run, order = row.measurement, row.measurement.order
            if order.purpose is Purpose.SCREEN:
                children.add(order.variant_id)
            if (
                order.block == 0
                and (value := run.metrics.get(tally.objectives[0].name)) is not None
            ):
                less = tally.objectives[0].direction == "minimise"
                firsts.setdefault(order.variant_id, value if less else -value)
        by_operator: dict[str, list[str]] = {name: [] for name in self._family.failed}
        for child, made in births.items():
            if child in children:
                by_operator.setdefault(made.operator, []).append(child)
        return [
            OperatorFrame(
                name=name,
                children=len(made),
                failed=self._family.failed.get(name, 0),
                better=sum(
                    firsts[one] < firsts.get(births[one].parents[0].variant_id, -math.inf)
                    for one in made
                    if one in firsts and births[one].parents
                ),
                on_front=sum(one in front for one in made),
            )
            for name, made in by_operator.items()
        ]
