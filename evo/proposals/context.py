"""What an operator is shown: the parents with what is believed of them, and what is around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from evo.proposals.ideas import Judge, Lines, tried_by
from operators.knowledge import MAX_PASSAGES, Passage
from operators.llm.settings import PromptSettings
from operators.operator import Left, ParentView, ProposalContext, RunState, Tried
from operators.prompting import MAX_IDEA_CHARS, estimate_in_words
from operators.source.knobs import sound_knobs
from population.archive import Objective
from population.islands import CHECKED, checked_in_words
from population.lineage import ANCESTOR, Lineage
from population.metrics import METRICS
from population.reading import (
    decisions,
    first_proposal,
    measurement,
    operations,
    source_of,
    unmeasured_proposals,
)
from population.reading.memory import notes
from population.run_history import RunHistory
from population.store import Store
from population.types import CurvePoint, Estimate, JudgedIdea, Note, Parent, Status

TRIED_SHOWN = 12
INSPIRING = 4
UNDER_WAY_SHOWN = 12
TENTH = 0.1


@dataclass(frozen=True, slots=True)
class CampaignInfo:
    """What a proposer is told once: the campaign's seed number, its brief, and the rung in words."""

    campaign_seed: int
    brief: str
    rung: str
    rung_words: str
    prompt: PromptSettings = PromptSettings()
    find: Callable[[str, int], tuple[Passage, ...]] | None = None  # in the user's papers
    contract: str = ""  # what a script can rely on
    may_add: tuple[str, ...] = ()  # patterns of files that a variant may have beside the seed's
    budget: Left | None = None  # of the search's runs, where they differ in what they take
    ranges: Mapping[str, str] = field(
        default_factory=dict
    )  # that the file gives constants, by name
    timed: bool = True  # whether prompts may hold measured seconds and memory, never the same twice


class ContextBuilder:
    """Builds what one request shows, from the measurements with ids up to `as_of` (None: all)."""

    def __init__(
        self, run_history: RunHistory, lineage: Lineage, campaign_info: CampaignInfo
    ) -> None:
        self._run_history = run_history
        self._lineage = lineage
        self._at = campaign_info
        self._judge = Judge(run_history, lineage, campaign_info.rung)
        self._lines = Lines(run_history, lineage, campaign_info.rung)

    def views(
        self, store: Store, parents: tuple[Parent, ...], as_of: int | None
    ) -> tuple[ParentView, ...]:
        """The parents, each with its source and what is believed of it; of several, also their edits."""
        views = [self._view(store, parent, as_of) for parent in parents]
        if len(views) == 1:
            views = [replace(views[0], why=self._why(views[0].variant_id, as_of))]
        tested = {one.variant_id: one.detail for one in decisions(store, (CHECKED,))}
        views = [
            replace(one, why=f"{one.why} Its gain was {found}.".strip())
            if (found := _tested(tested.get(one.variant_id), as_of))
            else one
            for one in views
        ]
        base = next((one.variant_id for one in parents if one.role == ANCESTOR), None)
        if base is None or len(parents) < 3:
            return tuple(views)
        return tuple(
            replace(view, edits=self._lines.edits(store, base, view.variant_id, as_of))
            for view in views
        )

    def _view(self, store: Store, parent: Parent, as_of: int | None) -> ParentView:
        made = first_proposal(store, parent.variant_id)
        return ParentView(
            parent.variant_id,
            parent.role,
            source_of(store, parent.variant_id),
            self._believed(parent.variant_id, as_of),
            made.idea if made is not None else "",
            made.idea_id if made is not None else None,
            larger=self._larger(parent.variant_id, as_of),
        )

    def _larger(self, variant_id: str, as_of: int | None) -> tuple[str, ...]:
        """What is believed of the first objective at other rungs than the proxy, and of the seed there."""
        history, told = self._run_history, list[str]()
        name = history.objectives[0].name
        for rung in history.rungs():
            found = history.believed(variant_id, rung, as_of)
            if rung == self._at.rung or name not in found:
                continue
            seed = history.believed(history.seed_id, rung, as_of)
            beside = ""
            if variant_id != history.seed_id and name in seed:
                beside = f" (the seed there: {estimate_in_words(name, seed[name])})"
            told.append(f"at {rung}: {name} {estimate_in_words(name, found[name])}{beside}")
        return tuple(told)

    def _why(self, variant_id: str, as_of: int | None) -> str:
        """Why a parent is worth an edit: the best by the first objective, behind it, or ahead in another."""
        front = self._run_history.front(self._at.rung, as_of)
        first, *others = self._run_history.objectives
        if variant_id in front[:1]:
            return f"It is the best so far in {first.name}."
        mine = self._believed(variant_id, as_of)
        if not front or first.name not in mine:
            return ""
        best = self._believed(front[0], as_of)
        ahead = [
            f"{one.name} {mine[one.name].mean:,.6g} against {best[one.name].mean:,.6g}"
            for one in others
            if one.name in mine
            and one.name in best
            and one.to_minimise(mine) < one.to_minimise(best)
        ]
        behind = abs(mine[first.name].mean - best[first.name].mean)
        se = math.hypot(mine[first.name].sd, best[first.name].sd)
        if behind < 2 * se < math.inf:
            return (
                f"It is level with the best in {first.name} as far as the noise shows: "
                f"{behind:.2g} ± {se:.2g} behind it."
            )
        if not ahead or variant_id not in front:
            return (
                f"It is {behind:.2g} behind the best in {first.name}. What the best has beside it is known to "
                "help: a change that adds only that finds nothing new; one that would also help the best does."
            )
        return (
            f"It is {behind:.2g} behind the best in {first.name}, and on the front for its niche: "
            f"{'; '.join(ahead)} of the best. Improve it without losing that."
        )

    def _believed(self, variant_id: str, as_of: int | None) -> dict[str, Estimate]:
        found = self._run_history.believed(variant_id, self._at.rung, as_of)
        return {name: one for name, one in found.items() if self._at.timed or not _is_timed(name)}

    def context(
        self,
        store: Store,
        parents: tuple[Parent, ...],
        views: tuple[ParentView, ...],
        as_of: int | None,
        awaited: Sequence[str] = (),
    ) -> ProposalContext:
        """What is told beside the parents; `awaited`: operators that ask about the same parents now."""
        objective = self._run_history.objectives[0].name
        near = [one for it in parents for one in self._children(it.variant_id)]
        tried = []
        for child in dict.fromkeys(near):
            made = first_proposal(store, child)
            rows = self._run_history.rows(self._at.rung, as_of, variant_id=child)
            if made is not None and rows:
                # whoever is asked about, a child has one effect: that against its first parent
                made_of = (child, self._lineage.parents_of(child)[0], made.idea, made.operator)
                tried.append(tried_by(self._run_history, self._at.rung, *made_of, rows, as_of))
        ideas = self._judge.ideas(store, as_of)
        failure, log_tail = self._failure(store, parents, as_of)
        return ProposalContext(
            brief=self._at.brief,
            contract=self._at.contract,
            may_add=self._at.may_add,
            objectives=tuple(one.in_words for one in self._run_history.objectives),
            lower_is_better=self._run_history.objectives[0].lower_is_better,
            trade=trade_in_words(self._run_history.objectives),
            constraints=constraints_in_words(self._run_history, self._at.rung, as_of),
            noise_sd=self._run_history.noise_sd(self._at.rung, objective, as_of),
            rung=self._at.rung_words,
            tried=tuple(tried[-TRIED_SHOWN:]),
            run=self._run(store, parents[0].variant_id, as_of),
            dearest=self._dearest(store, parents[0].variant_id, as_of),
            ideas=tuple(ideas),
            under_way=self._under_way(store, as_of),
            awaited=tuple(awaited),
            notes=self._notes(store),
            leader=self._leader(store, parents, as_of),
            inspirations=self._inspirations(store, parents, as_of),
            passages=self._passages(views, ideas),
            prompt=self._at.prompt,
            failure=failure,
            log_tail=log_tail,
        )

    def _notes(self, store: Store) -> tuple[Note, ...]:
        """Those that rest on a variant which belongs here, or on none."""
        known = self._run_history.is_member
        return tuple(
            one for one in notes(store) if not one.evidence or any(map(known, one.evidence))
        )

    def _children(self, variant_id: str) -> tuple[str, ...]:
        return self._lineage.children_of(variant_id)[-TRIED_SHOWN:]

    def _under_way(self, store: Store, as_of: int | None) -> tuple[Tried, ...]:
        """The newest children whose first run is still to come, or to be recorded."""
        waiting = unmeasured_proposals(store, self._at.rung, as_of, UNDER_WAY_SHOWN)
        return tuple(
            Tried(made.idea, made.operator, RunState.WAITING, None, variant_id=made.variant_id)
            for made in waiting
            if made.variant_id is not None and not self._run_history.is_vetoed(made.variant_id)
        )

    def _failure(
        self, store: Store, parents: tuple[Parent, ...], as_of: int | None
    ) -> tuple[str, str]:
        """How the first parent ended and the end of its log, if it never got a score."""
        rows = self._run_history.rows(self._at.rung, as_of, variant_id=parents[0].variant_id)
        if not rows or any(row.measurement.status is Status.OK for row in rows):
            return "", ""
        last = measurement(store, rows[-1].id).measurement
        return f"{last.status.value}: {last.reason}", last.log_tail

    def _leader(
        self, store: Store, parents: tuple[Parent, ...], as_of: int | None
    ) -> ParentView | None:
        """The best of the front with its source, if it is no parent here."""
        best = next(iter(self._run_history.front(self._at.rung, as_of)), None)
        if best is None or best in {one.variant_id for one in parents}:
            return None
        return self._view(store, Parent(best, "leader"), as_of)

    def _inspirations(
        self, store: Store, parents: tuple[Parent, ...], as_of: int | None
    ) -> tuple[ParentView, ...]:
        """The best of the front that are no parents here, without their sources."""
        taken = {one.variant_id for one in parents}
        front = [one for one in self._run_history.front(self._at.rung, as_of) if one not in taken]
        views = (self._view(store, Parent(one, "inspiration"), as_of) for one in front[:INSPIRING])
        return tuple(replace(view, source="") for view in views)

    def _run(self, store: Store, variant_id: str, as_of: int | None) -> str:
        """The last scored run of a variant in few numbers; measured time and memory only if wanted."""
        rows = self._run_history.rows(self._at.rung, as_of, variant_id=variant_id)
        ok = [row for row in rows if row.measurement.status is Status.OK]
        if not ok:
            return ""
        run = measurement(store, ok[-1].id).measurement
        told = []
        curve = [one for one in run.curve if math.isfinite(one.loss)]
        if run.self_reported_steps:
            told.append(f"{run.self_reported_steps} steps")
        if self._at.timed and run.train_wall_seconds > 0:
            if run.self_reported_steps:
                milliseconds = 1000 * run.train_wall_seconds / run.self_reported_steps
                told.append(f"{milliseconds:.3g} ms a step, start included")
            told.append(f"{run.self_reported_tokens / run.train_wall_seconds:.0f} tokens a second")
        if curve:
            told.append("training loss in nats, as it reports it: " + _losses(curve))
        if self._at.timed and "peak_memory_mb" in run.metrics:
            told.append(f"{run.metrics['peak_memory_mb']:.0f} MB at most")
        return "; ".join(told)

    def _dearest(self, store: Store, variant_id: str, as_of: int | None) -> str:
        """The operations that take longest in a variant; else in the nearest before it that was asked."""
        known = operations(store, as_of) if self._at.timed else {}
        here, way = variant_id, 0
        while known and here not in known and (parents := self._lineage.parents_of(here)):
            here, way = parents[0], way + 1
        if here not in known:
            return ""
        behind = "one edit" if way == 1 else f"{way} edits"
        return known[here] if not way else f"{known[here]} (in {here[:8]}, {behind} before it)"

    def _passages(
        self, views: tuple[ParentView, ...], ideas: list[JudgedIdea]
    ) -> tuple[Passage, ...]:
        """What the user's papers say to the parents' ideas, their knobs and people's new ideas."""
        if self._at.find is None:
            return ()
        new = [one.text for one in ideas if not one.children]
        knobs = [knob.name.replace("_", " ") for knob in sound_knobs(views[0].source)]
        words = " ".join([*(view.idea[:MAX_IDEA_CHARS] for view in views), *new, *knobs])
        return self._at.find(words, MAX_PASSAGES)


def _tested(detail: Mapping[str, Any] | None, as_of: int | None) -> str:
    """What a sceptic found, as far as it may be known; "" where nothing was tested."""
    if detail is None or (as_of is not None and detail["seen"] > as_of):
        return ""
    return checked_in_words(detail)


def _losses(curve: Sequence[CurvePoint]) -> str:
    """At each quarter of the way, each the mean of a tenth of the run: single steps scatter."""
    told = []
    for end in (0.25, 0.5, 0.75, 1.0):
        near = [one.loss for one in curve if end - TENTH <= one.progress <= end]
        if near:
            told.append(f"{fmean(near):.3f} at {end:.0%}")
    return ", ".join(told)


def trade_in_words(objectives: Sequence[Objective]) -> str:
    """From which difference on each objective counts, and what a loss in one has to buy in another."""
    steps = [f"{one.name} {one.epsilon:g}" for one in objectives if one.epsilon]
    told = f"Smallest steps that count: {', '.join(steps)}; less is no difference." if steps else ""
    if len(objectives) < 2:
        return told
    first, *others = (one.name for one in objectives)
    return (
        f"{told} A child that is worse in one objective keeps a place only by being better in another; "
        f"a gain in {first} pays for any loss in {' or '.join(others)} within the constraints, and it decides "
        "which one is the best."
    ).strip()


def constraints_in_words(run_history: RunHistory, rung: str, as_of: int | None) -> tuple[str, ...]:
    """What no variant may break, with the seed's numbers in it, and the worst that an objective may be."""
    seed = run_history.believed(run_history.seed_id, rung, as_of)
    limits = [one.limit_as_constraint() for one in run_history.objectives]
    return tuple(one.told(seed) for one in (*run_history.constraints, *filter(None, limits)))


def _is_timed(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].timed
