"""Variants in order of merit, and what each operator has earned."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import fmean, stdev

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import claimed_values, paired_differences
from evo.analysis.effects_of_edits import better_than_parents
from population.archive import Standing, broken_limits
from population.metrics import Trust, trust_of
from population.statistics import block_means
from population.statistics.blocks import widening
from population.types import (
    FRESH,
    Estimate,
    LlmCallRow,
    Outcome,
    ProposalRow,
    Purpose,
    Status,
)

PERIODS = 8


@dataclass(frozen=True, slots=True)
class Ranked:
    """One variant with what is believed of it, by metric; `standing` is "" off the front.

    A belief in an objective is what the search ranks by: the mean of its blocks with what they do to everyone
    taken off, shrunk to its parent's; in another metric it is the mean of its blocks as they were measured,
    with its standard error (NaN on one). measured: the mean of its runs in the first objective, nothing shrunk.
    errors: what is shown after the ± of an estimate, the sd by which the search weighs it widened by what few
    runs leave unknown: 1.96 of it hold the truth 19 times in 20. vetoed: a person rejected it, whether the
    campaign has taken that yet or not. beyond: which limits of the config it is outside of, in words; "" inside
    all.
    """

    variant_id: str
    estimates: Mapping[str, Estimate]
    errors: Mapping[str, float]
    measured: Estimate
    standing: str
    operator: str
    idea: str
    vetoed: bool = False
    trust: Mapping[str, Trust] = field(default_factory=dict)  # who says each metric
    beyond: str = ""
    island: str = ""  # that made it; "" in a campaign of one population

    def told(self, metric: str) -> tuple[float, float, int]:
        """Mean, error and n of a metric, as every screen shows them."""
        found = self.estimates[metric]
        return found.mean, self.errors[metric], found.n


def ranking(record: Record) -> Sequence[Ranked]:
    """Every variant with a score at the proxy, the best in the first objective first, as is believed.

    Beliefs rest on every run at the proxy, whatever it was made for: a leader that loses on fresh blocks loses
    its place. Those of an import are its means, as sure as its repeats allow.
    """
    return record.once("ranking", lambda: _ranking(record))


def _ranking(record: Record) -> tuple[Ranked, ...]:
    births, objective, history = record.births(), record.objective, record.history()
    measured, wider = record.means()
    believed: Mapping[str, Mapping[str, Estimate]] = record.believed
    if history is not None:
        measured = {one: _as_sure(metrics, history.sd) for one, metrics in measured.items()}
        believed = {}
    elif _is_stale(
        believed, measured, objective.name
    ):  # an older store, or one that a kill left behind
        own = record.beliefs()
        believed = {one: own.found(one).all() for one in own}
    weighed = {one: {**metrics, **believed.get(one, {})} for one, metrics in measured.items()}
    estimates = weighed if history is not None else _as_measured(record, weighed)
    seed = weighed.get(record.seed_id)
    objectives = {one.name for one in record.objectives}
    few = 1.0 if history is None or not history.freedom else widening(history.freedom)
    found = [
        Ranked(
            variant_id,
            estimates[variant_id],
            {
                name: one.sd * wider.get(variant_id, {}).get(name, few)
                if history is not None or name in objectives
                else one.sd * widening(max(1, one.n - 1))
                for name, one in estimates[variant_id].items()
            },
            metrics[objective.name],
            record.front.get(variant_id, ""),
            births[variant_id].operator if variant_id in births else "",
            births[variant_id].idea if variant_id in births else "",
            variant_id in record.ladder.vetoed,
            {name: trust_of(name) for name in metrics},
            "" if seed is None else _beyond(record, weighed[variant_id], seed),
            births[variant_id].island if variant_id in births else "",
        )
        for variant_id, metrics in measured.items()
        if objective.name in metrics
    ]
    found.sort(key=lambda one: (objective.to_minimise(one.estimates), one.variant_id))
    return tuple(found)


def _as_measured(
    record: Record, weighed: Mapping[str, Mapping[str, Estimate]]
) -> dict[str, dict[str, Estimate]]:
    """These estimates, in what is no objective the mean of a variant's own blocks: no one is ranked by it."""
    objectives = {one.name for one in record.objectives}
    runs = block_means(record.believable(), record.seed_id)
    return {
        one: {
            name: _mean(list(runs[one][name].values()))
            if name not in objectives and name in runs.get(one, {})
            else estimate
            for name, estimate in metrics.items()
        }
        for one, metrics in weighed.items()
    }


def _mean(values: Sequence[float]) -> Estimate:
    n = len(values)
    return Estimate(fmean(values), stdev(values) / math.sqrt(n) if n > 1 else math.nan, n)


def _beyond(record: Record, found: Mapping[str, Estimate], seed: Mapping[str, Estimate]) -> str:
    broken = broken_limits(found, record.objectives, record.ladder.constraints, seed)
    return "; ".join(one.told(seed) for one in broken)


def _is_stale(
    believed: Mapping[str, Mapping[str, Estimate]],
    measured: Mapping[str, Mapping[str, Estimate]],
    name: str,
) -> bool:
    """Whether what the campaign wrote down of a metric is not about these runs."""
    told = {one: metrics[name].n for one, metrics in believed.items() if name in metrics}
    runs = {one: metrics[name].n for one, metrics in measured.items() if name in metrics}
    return any(told.get(one) != n for one, n in runs.items())


def _as_sure(metrics: Mapping[str, Estimate], run_sd: float | None) -> dict[str, Estimate]:
    """Estimates with the sd of a mean of n runs that vary by `run_sd`; NaN where that is not known."""
    sd = math.nan if run_sd is None else run_sd
    return {name: replace(one, sd=sd / math.sqrt(one.n)) for name, one in metrics.items()}


def front_of(record: Record, ranked: Sequence[Ranked]) -> list[Ranked]:
    """The front's members as the campaign ordered them, best first objective first."""
    by_id = {one.variant_id: one for one in ranked}
    return [by_id[member] for member in record.front if member in by_id]


@dataclass(frozen=True, slots=True)
class Earning:
    """What one operator did.

    `better` counts children whose run beat their first parent's on a common block: single runs, so
    luck included. `valid`: proposals whose child was scored. `certified_gain`: by how much its certified
    children beat their nearest certified ancestor (else the seed) on fresh blocks, summed.
    `shares`: of the proposals in each of PERIODS equal parts of them, the oldest first.
    `seconds` are the operator's own. `dollars` leaves out calls of unknown price.
    """

    operator: str
    proposals: int
    children: int
    measured: int
    better: int
    on_front: int
    slot_seconds: float
    tokens: int
    dollars: float
    price_unknown: int
    valid: int
    certified: int
    certified_gain: float
    seconds: float
    shares: tuple[float, ...]


def earnings(record: Record) -> list[Earning]:
    """Each operator's earnings, most proposals first; the seed's own row is left out."""
    names = dict.fromkeys(made.operator for made in record.proposals if made.parents)
    births = record.births()
    slot_seconds: dict[str, float] = {}
    for row in record.attempts:
        request = row.measurement.request
        if request.purpose is Purpose.SCREEN:
            slot_seconds[request.variant_id] = (
                slot_seconds.get(request.variant_id, 0.0) + row.measurement.wall_seconds
            )
    better = better_than_parents(record.rows, births, record.proxy, record.objective)
    ran = {run.request.variant_id for run in record.runs()}  # lost by our own machine: never ran
    scored = {run.request.variant_id for run in record.runs() if run.status is Status.OK}
    certified, shares = certified_gains(record), shares_over_time(record.proposals)
    result = []
    for name in names:
        made = [one for one in record.proposals if one.operator == name]
        children = [v for v, one in births.items() if one.operator == name]
        result.append(
            Earning(
                operator=name,
                proposals=len(made),
                children=sum(one.outcome is Outcome.VARIANT for one in made),
                measured=sum(child in ran for child in children),
                better=sum(child in better for child in children),
                on_front=sum(child in record.front for child in children),
                slot_seconds=sum(slot_seconds.get(child, 0.0) for child in children),
                tokens=sum(one.cost.tokens_in + one.cost.tokens_out for one in made),
                dollars=sum(one.cost.dollars or 0.0 for one in made),
                price_unknown=sum(one.cost.dollars is None for one in made),
                valid=sum(child in scored for child in children),
                certified=sum(child in certified for child in children),
                certified_gain=sum(certified.get(child, 0.0) for child in children),
                seconds=sum(one.cost.seconds for one in made),
                shares=shares[name],
            )
        )
    return sorted(result, key=lambda one: -one.proposals)


def certified_gains(record: Record) -> dict[str, float]:
    """How much each certified variant beats its nearest certified ancestor, else the seed, on fresh blocks.

    Positive is better; 0.0 where no fresh block holds both.
    """
    proven = [one for one, standing in record.front.items() if standing == Standing.CERTIFIED]
    _, values = claimed_values(record.rows, record.proxy, record.objective.name, FRESH)
    gains = {}
    for one in proven:
        if one == record.seed_id:
            continue
        line = [made.variant_id for made in record.chain(one)[:-1]]
        base = next((up for up in reversed(line) if up in proven), record.seed_id)
        pairs = paired_differences(values.get(one, {}), values.get(str(base), {}))
        gain = fmean(pairs.values()) if pairs else 0.0
        gains[one] = -record.objective.turned(gain)
    return gains


def shares_over_time(made: Sequence[ProposalRow]) -> dict[str, tuple[float, ...]]:
    """Each operator's share of the proposals in PERIODS equal parts of them, in their order."""
    asked = [one.operator for one in made if one.parents]
    periods = min(PERIODS, len(asked)) or 1
    edges = [round(len(asked) * k / periods) for k in range(periods + 1)]
    parts = [asked[low:high] for low, high in pairwise(edges)]
    return {
        name: tuple(part.count(name) / len(part) for part in parts) for name in dict.fromkeys(asked)
    }


# -- What was asked of models, by operator: calls, tokens, and which part of the prompts had how many.


NOTES = "research notes"
CUT_OFF = "cut off"  # calls of a proposal that never came to be


@dataclass(frozen=True, slots=True)
class Prompts:
    """The calls of one operator. Tokens in and out are as billed; `parts` are estimates, the largest first.

    `dollars` leaves out calls of unknown price; `seconds` are those of all calls together.
    """

    operator: str
    calls: int
    tokens_in: int
    tokens_out: int
    dollars: float
    price_unknown: int
    seconds: float
    parts: Mapping[str, int]


def prompts(calls: Iterable[LlmCallRow]) -> list[Prompts]:
    """What each operator asked, the most tokens in first."""
    by_operator: dict[str, list[LlmCallRow]] = {}
    for one in calls:
        by_operator.setdefault(_asker(one), []).append(one)
    found = [_together(name, of) for name, of in by_operator.items()]
    return sorted(found, key=lambda one: -one.tokens_in)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model answered: how many questions, and how many of them had to be asked twice and why.

    `reasons`: without what differs from answer to answer, the most frequent first. `failed`: requests
    without an answer. `estimated_tokens`: those that no server told.
    """

    endpoint: str
    model: str
    questions: int
    asked_again: int
    again_share: float | None  # None: nothing was answered
    reasons: Mapping[str, int]
    failed: int
    estimated_tokens: int


def answers(calls: Iterable[LlmCallRow]) -> list[Answers]:
    """What each model answered, the most asked first; small questions that try a server do not count."""
    by_model: dict[tuple[str, str], list[LlmCallRow]] = {}
    for one in calls:
        if "probe" not in one.parts:
            by_model.setdefault((one.endpoint, one.model), []).append(one)
    found = [_answered(*name, of) for name, of in by_model.items()]
    return sorted(found, key=lambda one: -one.questions)


def _answered(endpoint: str, model: str, calls: list[LlmCallRow]) -> Answers:
    heard = [one for one in calls if one.outcome == "ok"]
    first = [one for one in heard if not _is_again(one)]
    again = [one for one in heard if _is_again(one)]
    reasons = Counter(kind_of_reason(one.again_because) for one in again)
    return Answers(
        endpoint=endpoint,
        model=model,
        questions=len(first),
        asked_again=len(again),
        again_share=len(again) / len(first) if first else None,
        reasons=dict(reasons.most_common()),
        failed=len(calls) - len(heard),
        estimated_tokens=sum(one.tokens_in + one.tokens_out for one in calls if one.estimated),
    )


def _is_again(one: LlmCallRow) -> bool:
    """Whether it asked once more; older stores do not say why."""
    return bool(one.again_because) or "again" in one.parts


def kind_of_reason(reason: str) -> str:
    """Why an answer could not be used, without the places, names and numbers of that one answer."""
    said = re.sub(r"^edit \d+ of \d+: ", "", reason)
    said = re.sub(r"\([^()]*\)", "", said).partition(": ")[0]
    said = re.sub(r"`[^`]*`|'[^']*'", "…", said)
    return " ".join(re.sub(r"\d[\d,.]*", "n", said).split()) or "not recorded"


def _asker(one: LlmCallRow) -> str:
    return one.operator or (CUT_OFF if one.proposal_number else NOTES)


def _together(operator: str, calls: list[LlmCallRow]) -> Prompts:
    parts = Counter[str]()
    for one in calls:
        parts.update(one.parts)
    return Prompts(
        operator=operator,
        calls=len(calls),
        tokens_in=sum(one.tokens_in for one in calls),
        tokens_out=sum(one.tokens_out for one in calls),
        dollars=sum(one.dollars or 0.0 for one in calls),
        price_unknown=sum(one.dollars is None for one in calls),
        seconds=sum(one.seconds for one in calls),
        parts=dict(parts.most_common()),
    )
