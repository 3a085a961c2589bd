"""What of the proxy's result held at the target: counts with intervals, ranks with chance levels, edits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import Comparison, claimed_values, compare
from evo.analysis.edits import kinds_of_edit
from evo.analysis.ladder import beside_seed
from population.ladder import Role
from population.statistics.intervals import Interval, share_interval
from population.statistics.transfer import (
    MIN_BLOCKS,
    MIN_VARIANTS,
    Promotions,
    RankAgreement,
    TimeToReach,
    TopOverlap,
    kendall_tau,
    promotions,
    regret_at_k,
    time_to_reach,
    top_overlap,
    transfer_ratio,
)
from population.types import GRADUATING, PUBLISHED, SHARE, Purpose, Status, share_rung

BOOTSTRAP_SEED = 11  # the same interval again for the same rows
TOP = 3
REGRETS = (1, 3)
ENOUGH = MIN_VARIANTS  # below it a share is given as counts alone

SourceOf = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Pair:
    """One variant at the proxy, on blocks that chose nobody, and at the target; compared with the seed at both.

    ratio: the target's gain per proxy gain (Fieller); None while the proxy gain's interval holds 0.
    """

    variant_id: str
    role: Role
    operator: str
    kinds: tuple[str, ...]
    proxy: Comparison | None
    target: Comparison | None
    ratio: Interval | None


@dataclass(frozen=True, slots=True)
class HeldAtTarget:
    """Of `tried` graduates that beat the seed at the proxy, how many did at the target.

    rate: None while they are too few.
    """

    name: str
    held: int
    tried: int
    rate: Interval | None


@dataclass(frozen=True, slots=True)
class EditTransfer:
    """One step on the way to the target's best: what it changed, and child against parent at both ends.

    `parent_id`: the nearest on the way that ran at the target; `edits` lie between them, of which `operator`
    and `idea` are the last one's.
    """

    variant_id: str
    parent_id: str
    edits: int
    operator: str
    idea: str
    kinds: tuple[str, ...]
    proxy: Comparison | None
    target: Comparison | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """Everything that the ladder says of the proxy's worth. `n`: variants with both scores.

    promotions: None while no control and no graduate that beat the seed on fresh blocks ran at the target.
    fresh: whether the config asks for such blocks. agreement, overlap: None below ten variants; regret: by k,
    in the objective, of choosing the proxy's best k.
    """

    proxy: str
    target: str
    n: int
    pairs: tuple[Pair, ...]
    promotions: Promotions | None
    fresh: bool
    agreement: RankAgreement | None
    overlap: TopOverlap | None
    informative: bool
    regret: Mapping[int, float]
    by_operator: tuple[HeldAtTarget, ...]
    by_kind: tuple[HeldAtTarget, ...]
    edits: tuple[EditTransfer, ...]


def transfer(record: Record, source_of: SourceOf) -> Transfer | None:
    """The report of a campaign; None before both the seed and another ran at the target."""
    if len(record.rungs) < 2:
        return None
    target = record.rungs[-1]
    pairs = _pairs(record, target, source_of)
    if not any(one.target for one in pairs):
        return None
    both = [one for one in pairs if one.proxy and one.target]
    near, there = (_scores(record, both, rung) for rung in (record.proxy, target))
    proxy, far = ([one[pair.variant_id] for pair in both] for one in (near, there))
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    agreement = kendall_tau(proxy, far, rng) if both else None
    return Transfer(
        proxy=record.proxy,
        target=target,
        n=len(both),
        pairs=tuple(pairs),
        promotions=_promotions(record, pairs),
        fresh=(record.config.get("graduation") or {}).get("controls") != 0,
        agreement=agreement,
        overlap=top_overlap(proxy, far, TOP) if both else None,
        informative=agreement is not None and agreement.informative,
        regret={k: regret_at_k(near, there, k) for k in REGRETS if len(both) > k},
        by_operator=_held(record, both, lambda one: (one.operator,)),
        by_kind=_held(record, both, lambda one: one.kinds),
        edits=tuple(_edits(record, target, _best(record, pairs), source_of)),
    )


def _pairs(record: Record, target: str, source_of: SourceOf) -> list[Pair]:
    births, seed = record.births(), source_of(record.seed_id)
    climbers = {
        one.variant_id: one
        for one in sorted(record.ladder.ever.values(), key=lambda one: list(Role).index(one.role))
        if one.role is not Role.ANCESTOR
    }
    return [
        Pair(
            one,
            climber.role,
            births[one].operator if one in births else "",
            kinds_of_edit(seed, source_of(one)),
            proxy := beside_seed(record, one, record.proxy),
            far := beside_seed(record, one, target),
            _ratio(record, one, target) if proxy and far else None,
        )
        for one, climber in climbers.items()
    ]


def _ratio(record: Record, variant_id: str, target: str) -> Interval | None:
    proxy, far = (_gains_by_block(record, variant_id, rung) for rung in (record.proxy, target))
    return transfer_ratio(far, proxy)


def _gains_by_block(record: Record, variant_id: str, rung: str) -> list[float]:
    _, values = claimed_values(record.rows, rung, record.objective.name, GRADUATING)
    mine, seed = values.get(variant_id, {}), values.get(record.seed_id, {})
    sign = record.objective.sign
    return [sign * (seed[block] - mine[block]) for block in sorted(mine.keys() & seed.keys())]


def _scores(record: Record, both: Iterable[Pair], rung: str) -> dict[str, float]:
    """Minus the gain over the seed, so that lower is better and what blocks do is taken off."""
    found = ((one.variant_id, beside_seed(record, one.variant_id, rung)) for one in both)
    return {one: -beside.gain for one, beside in found if beside is not None}


def _promotions(record: Record, pairs: Sequence[Pair]) -> Promotions | None:
    """Graduates count that beat the seed at the proxy; controls count whatever they did there."""
    graduates = [one for one in pairs if _tried(record, one)]
    controls = [one for one in pairs if one.role is Role.CONTROL and one.target]
    if not graduates and not controls:
        return None
    held = [sum(_holds(record, one) for one in group) for group in (graduates, controls)]
    return promotions(held[0], len(graduates), held[1], len(controls))


def _tried(record: Record, one: Pair) -> bool:
    """Whether a graduate beat the seed on the proxy's fresh blocks and ran at the target."""
    beat = one.proxy is not None and one.proxy.gain > 0
    return one.role is Role.GRADUATE and beat and one.target is not None


def _holds(record: Record, one: Pair) -> bool:
    return one.target is not None and one.target.gain > 0


def _held(
    record: Record, pairs: Sequence[Pair], names: Callable[[Pair], Iterable[str]]
) -> tuple[HeldAtTarget, ...]:
    counts: dict[str, list[bool]] = defaultdict(list)
    for one in pairs:
        if _tried(record, one):
            for name in names(one):
                counts[name].append(_holds(record, one))
    return tuple(
        HeldAtTarget(
            name, sum(of), len(of), share_interval(sum(of), len(of)) if len(of) >= ENOUGH else None
        )
        for name, of in sorted(counts.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def _best(record: Record, pairs: Sequence[Pair]) -> str | None:
    """Whose ancestors ran, else the graduate with the greatest gain at the target."""
    choice = record.ladder.ancestors(record.rungs[-1])
    if choice is not None:
        return str(choice.basis["best"])
    ran = [
        (one.target.gain, one.variant_id)
        for one in pairs
        if one.target and one.role is Role.GRADUATE
    ]
    return max(ran)[1] if ran else None


def _edits(
    record: Record, target: str, best: str | None, source_of: SourceOf
) -> list[EditTransfer]:
    """From the seed to the target's best, over the steps that ran at the target."""
    _, ran = claimed_values(record.rows, target, record.objective.name, GRADUATING)
    births = record.births()
    line = [str(made.variant_id) for made in record.chain(best)] if best is not None else []
    place = {one: at for at, one in enumerate(line)}
    line = [one for one in line if one in ran]
    return [
        EditTransfer(
            child,
            parent,
            place[child] - place[parent],
            births[child].operator,
            births[child].idea,
            kinds_of_edit(source_of(parent), source_of(child)),
            _paired(record, child, parent, record.proxy, GRADUATING | PUBLISHED),
            _paired(record, child, parent, target),
        )
        for parent, child in pairwise(line)
    ]


def _paired(
    record: Record,
    child: str,
    parent: str,
    rung: str,
    purposes: frozenset[Purpose] = GRADUATING,
) -> Comparison | None:
    return compare(record.rows, child, parent, rung, record.objective, purposes)


# -- The headline: how long the target's best needs to reach what the seed ends with at the target.


Floats = dict[float, float]


@dataclass(frozen=True, slots=True)
class Level:
    """One share of the target's budget: mean scores of the seed and the best, and the best's tokens.

    self_reported_tokens: a run of the best, over a run of the seed with the whole budget.
    """

    share: float
    seed: float | None
    best: float | None
    self_reported_tokens: float | None


@dataclass(frozen=True, slots=True)
class Reaching:
    """How far it is. `budget`: in shares of the seed's budget; None while runs are missing, as `missing` says.

    self_reported_tokens: the same in shares of the seed's tokens, which both runs tell of themselves.
    """

    variant_id: str
    rung: str
    metric: str
    levels: tuple[Level, ...]
    budget: TimeToReach | None
    self_reported_tokens: TimeToReach | None
    missing: str


def reaching(record: Record) -> Reaching | None:
    """The headline of a campaign; None where no shares of the budget are trained."""
    best, target = record.ladder.reaching, record.rungs[-1] if record.rungs else ""
    if best is None or best in record.ladder.vetoed:
        return None
    shares = _shares(record, target)
    sign = record.objective.sign
    claimed = {
        share: claimed_values(
            record.rows, share_rung(target, share), record.objective.name, GRADUATING
        )
        for share in shares
    }
    scores = {share: values for share, (_, values) in claimed.items()}
    seed = {block: sign * score for block, score in scores[1.0].get(record.seed_id, {}).items()}
    runs: dict[int, Floats] = {}
    for share in shares:
        for block, score in scores[share].get(best, {}).items():
            runs.setdefault(block, {})[share] = sign * score
    whole = {block: by for block, by in runs.items() if len(by) == len(shares) and block in seed}
    tokens = {share: _tokens(record, best, share_rung(target, share)) for share in shares}
    base = _tokens(record, record.seed_id, target)
    ratios = {share: told / base for share, told in tokens.items() if told and base}
    return Reaching(
        best,
        target,
        claimed[1.0][0],
        tuple(
            Level(
                share,
                _mean(scores[share].get(record.seed_id, {}).values()),
                _mean(scores[share].get(best, {}).values()),
                ratios.get(share),
            )
            for share in shares
        ),
        time_to_reach(whole, seed),
        _in_tokens(whole, seed, ratios),
        "" if len(whole) >= MIN_BLOCKS else f"{len(whole)} of {MIN_BLOCKS} blocks are complete",
    )


def _shares(record: Record, target: str) -> list[float]:
    """The shares that something ran with, the whole one always among them."""
    found = {1.0}
    for run in record.runs():
        rung, mark, share = run.request.rung.partition(SHARE)
        if rung == target and mark:
            found.add(float(share))
    return sorted(found)


def _in_tokens(
    runs: dict[int, Floats], seed: dict[int, float], ratios: Floats
) -> TimeToReach | None:
    """Each share in the place of the tokens that it was good for; None where they do not grow with it."""
    told = [ratios.get(share) for share in sorted({share for by in runs.values() for share in by})]
    known = [one for one in told if one is not None]
    if len(known) < len(told) or any(a >= b for a, b in pairwise(known)):
        return None
    turned = {
        block: {ratios[share]: score for share, score in by.items()} for block, by in runs.items()
    }
    return time_to_reach(turned, seed)


def _tokens(record: Record, variant_id: str, rung: str) -> float | None:
    return _mean(
        [
            float(run.self_reported_tokens)
            for run in record.runs()
            if run.request.variant_id == variant_id
            and run.request.rung == rung
            and run.status is Status.OK
        ]
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return fmean(found) if found else None
