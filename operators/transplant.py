"""Operator `transplant`: an edit that paid in another campaign, merged three ways into today's parent.

What a bank says of an idea was measured elsewhere, so it is evidence of unknown worth here: it is shrunk, the
more so the less such ideas have done here what their banks said, and what was measured here counts in full. The
choice is Thompson sampling over what follows. An idea that others build on is worth part of what they promise,
so that a chain of edits is climbed from its beginning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from operators.operator import (
    Draft,
    ParentRule,
    ParentView,
    ProposalFailed,
    Request,
    RunState,
    Transplanted,
)
from operators.source.compare import Steps
from operators.source.merge import merge_sources, steps_for
from operators.source.names import lost_attributes, undefined_names
from operators.source.parse import SourceError
from population.fingerprint import fingerprint
from population.metrics import METRICS
from population.reading.idea_bank import BankIdea, line_of
from population.types import Estimate

CONTEXT_SHARE = (
    0.5  # sd of an effect from campaign to campaign, as a share of what ideas usually do
)
TRANSFER = (0.7, 0.4)  # prior mean and sd: how much of what a bank says is found here
CHAIN_SHARE = 0.5  # of what an idea promises, to the one that it builds on
MAX_CHAIN = 20
MAX_MERGES = 40  # tried for one proposal; together they take MAX_MERGE_STEPS at most
MAX_TOLD = 3  # ideas whose reason is told when none can be taken
WORDS = 60  # characters of an idea in a reason


class TransplantSettings(BaseModel):
    """Where ideas come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    banks: tuple[str, ...] = Field(
        default=(), description="files of idea banks, and folders of campaigns"
    )


class Transplant:
    """Merges an idea of a bank into its parent."""

    name = "transplant"
    parent_rule = ParentRule.ONE

    def __init__(self, ideas: Sequence[BankIdea] = ()) -> None:
        self._ideas = {one.id: one for one in sorted(ideas, key=lambda one: one.id)}
        before: dict[str, list[str]] = {one.before: [] for one in ideas}
        for one in self._ideas.values():
            before[one.before].append(one.id)
        self._built_on = {one.id: before.get(one.after, []) for one in self._ideas.values()}

    def propose(self, request: Request) -> Draft:
        """The parent with the idea that a draw likes best of those that fit. ProposalFailed when none does."""
        parent = request.parent("parent")
        tried = request.history.transplants(parent.variant_id)
        there = {one.idea for one in tried if one.inherited}
        busy = {one.idea for one in tried if one.state is RunState.WAITING}
        free = [one for one in self._ideas if one not in there | busy]
        if not free:
            raise ProposalFailed(_nothing_left(len(self._ideas), len(there), len(busy)))
        metric = request.context.objectives[0] if request.context.objectives else "val_bpb"
        promised = self._promised(metric, tried, there, request.rng)
        reasons, steps = list[str](), steps_for(*[parent.source] * 3)
        for one in sorted(free, key=lambda one: promised[one])[:MAX_MERGES]:
            idea = self._ideas[one]
            if promised[one] >= 0:
                reasons.append(f"{_named(idea)} promises nothing here")
                break  # nor does any that follows
            source, reason = _merged(idea, parent, request, steps)
            if source is not None:
                origin = json.dumps(
                    {**json.loads(line_of(idea)), "bank": idea.bank}, ensure_ascii=False
                )
                return Draft(source, idea.idea, origin=origin)
            reasons.append(f"{_named(idea)} {reason}")
        more = f"; {len(reasons) - MAX_TOLD} more likewise" if len(reasons) > MAX_TOLD else ""
        raise ProposalFailed("; ".join(reasons[:MAX_TOLD]) + more)

    def _promised(
        self,
        metric: str,
        tried: Sequence[Transplanted],
        there: set[str],
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """A draw of what each idea would do here, below 0 is better, and of what it leads to."""
        drawn = drawn_effects(list(self._ideas.values()), metric, tried, rng)
        leads: dict[str, float] = {}

        def worth(one: str, depth: int = 0) -> float:
            if one not in leads:
                leads[one] = drawn[one]  # a circle of edits ends here
                after = [
                    worth(next_one, depth + 1)
                    for next_one in self._built_on[one]
                    if next_one not in there and depth < MAX_CHAIN
                ]
                leads[one] = drawn[one] + CHAIN_SHARE * min([0.0, *after])
            return leads[one]

        return {one: worth(one) for one in self._ideas}


def _nothing_left(ideas: int, there: int, busy: int) -> str:
    if not ideas:
        return "no bank holds an idea"
    return (
        f"of {ideas} {'idea' if ideas == 1 else 'ideas'} in the banks {there} are in the parent already and "
        f"{busy} wait to be measured"
    )


def _named(idea: BankIdea) -> str:
    return repr(idea.idea if len(idea.idea) <= WORDS else idea.idea[: WORDS - 1] + "…")


# -- What an idea would do here, drawn from what is known of it.


@dataclass(frozen=True, slots=True)
class _Belief:
    mean: float
    var: float

    def with_evidence(self, value: float, var: float) -> _Belief:
        """Normal prior, normal evidence."""
        weight = self.var / (self.var + var)
        return _Belief(self.mean + weight * (value - self.mean), self.var * (1 - weight))


def drawn_effects(
    ideas: Sequence[BankIdea],
    metric: str,
    tried: Sequence[Transplanted],
    rng: np.random.Generator,
) -> dict[str, float]:
    """One draw of each idea's effect on a metric here, lower is better, by its id.

    With A what ideas of these banks usually do (root mean square), an effect here is normal around a share of
    what the bank's evidence says, shrunk towards 0, with sd A x CONTEXT_SHARE; the share is learned from ideas
    that were tried here. Measurements of the idea itself here come on top. What failed here counts as lost.
    """
    sign = 1.0 if metric not in METRICS or METRICS[metric].lower_is_better else -1.0
    recorded = {
        one.id: [(sign * e.mean, _variance(e.sd, e.n)) for e in one.effect(metric)] for one in ideas
    }
    known = [value for found in recorded.values() for value, _ in found]
    usual = math.sqrt(sum(value**2 for value in known) / len(known)) if known else 1.0
    context = (CONTEXT_SHARE * usual) ** 2 or 1e-12
    elsewhere = {one: _elsewhere(found, usual, context) for one, found in recorded.items()}
    here = _here(tried, context)
    share = _Belief(TRANSFER[0], TRANSFER[1] ** 2)
    for one in sorted(set(here) & set(elsewhere)):
        told, found = elsewhere[one].mean, here[one]
        if abs(told) > 0.1 * usual:  # else its ratio says nothing
            share = share.with_evidence(found.mean / told, (found.var + context) / told**2)
    transfer = share.mean + math.sqrt(share.var) * float(rng.standard_normal())
    drawn = {}
    for one in sorted(elsewhere):
        belief = _Belief(transfer * elsewhere[one].mean, elsewhere[one].var + context)
        if one in here:
            belief = belief.with_evidence(here[one].mean, here[one].var)
        drawn[one] = belief.mean + math.sqrt(belief.var) * float(rng.standard_normal())
    return drawn


def _variance(sd: float | None, n: int) -> float:
    return math.nan if sd is None or n < 2 else sd**2 / n


def _elsewhere(found: Iterable[tuple[float, float]], usual: float, context: float) -> _Belief:
    """What banks say of one idea; measurements of another rung or campaign are another context."""
    belief = _Belief(0.0, usual**2 or 1.0)
    for value, var in found:
        own = context if math.isnan(var) else var  # one run: as uncertain as another campaign
        belief = belief.with_evidence(value, own + context)
    return belief


def _here(tried: Sequence[Transplanted], context: float) -> dict[str, _Belief]:
    """By idea, the mean of what its children did here and its variance."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in tried:
        if one.state is RunState.FAILED:
            found.setdefault(one.idea, []).append((math.sqrt(context), context / 16))
        elif math.isfinite(one.effect):
            se = one.se if math.isfinite(one.se) else math.sqrt(context)
            found.setdefault(one.idea, []).append((one.effect, max(se**2, context / 100)))
    beliefs = {}
    for idea, seen in found.items():
        weight = sum(1 / var for _, var in seen)
        beliefs[idea] = _Belief(sum(value / var for value, var in seen) / weight, 1 / weight)
    return beliefs


# -- Whether an idea fits a parent.


def _merged(
    idea: BankIdea, parent: ParentView, request: Request, steps: Steps
) -> tuple[str | None, str]:
    """The parent with the idea, or None and why not."""
    if broken := request.history.forbidden(_expected(idea, parent.estimates)):
        return None, f"would break the constraint {broken}"
    same_draws = np.random.default_rng(0)  # a conflict is refused, so no draw counts
    given = (parent.source, idea.after, idea.before)
    try:
        merged = merge_sources(*given, same_draws, steps, join_insertions=True)
        missing = undefined_names(merged.source)
        if missing:
            missing -= undefined_names(parent.source) | undefined_names(idea.after)
        missing |= lost_attributes(merged.source, parent.source, idea.after)
        form, before = fingerprint(merged.source), fingerprint(parent.source)
    except (SourceError, SyntaxError) as error:
        return None, f"cannot be merged: {error}"
    if form == before:
        return None, "is in the parent already"
    if merged.conflicts:
        places = [one.name for one in merged.taken if one.conflict]
        more = f" and {len(places) - MAX_TOLD} more" if len(places) > MAX_TOLD else ""
        return None, f"conflicts with the parent in {', '.join(places[:MAX_TOLD])}{more}"
    if missing:
        return None, f"needs what the parent lacks: {', '.join(sorted(missing)[:MAX_TOLD])}"
    if request.history.known(merged.source):
        return None, "gives a variant that was made before"
    return merged.source, ""


def _expected(idea: BankIdea, estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """What the parent's figures would become, where the bank says what the idea adds to them."""
    added: dict[str, float] = {}
    for one in idea.effects:
        added[one.metric] = max(one.mean, added.get(one.metric, -math.inf))
    return {
        name: replace(estimate, mean=estimate.mean + added[name])
        for name, estimate in estimates.items()
        if name in added
    }
