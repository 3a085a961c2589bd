"""What a campaign found and how sure that is: the figures behind the closing screen and `status`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import (
    Comparison,
    Noise,
    blocks_to_show,
    compare,
    noise,
    selection_bias_of,
    visible_difference,
)
from evo.analysis.effects_of_edits import paired_comparisons
from evo.analysis.health import Failures, by_status, failures
from evo.analysis.ladder import growth_of
from evo.analysis.ranking import Ranked, front_of, ranking
from population.archive import Objective
from population.metrics import Trust, is_held_out, trust_of
from population.statistics import NoiseKind, noise_kind
from population.statistics.race import SelectionBias
from population.types import CHOSEN_BY, ONE_STEP, PUBLISHED, MeasurementRow, Purpose, Status

SIZES = ("weights_mb", "parameters")  # the first that was measured
ROUNDING = 1e-9  # as a share of a mean: what sums of the same numbers differ by
MAX_LOG_E = 700.0  # of what a float holds
TEST = Objective(name="test_bpb")  # of text that only final and graduating runs are scored on


@dataclass(frozen=True, slots=True)
class KnobChange:
    """One knob that differs between two sources; None where it does not exist."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class LineageStep:
    """One step of the way from the seed to the leader. effect: compared with its parent, on common blocks."""

    variant_id: str
    operator: str
    idea: str
    other_parents: tuple[str, ...] = ()
    effect: Comparison | None = None
    bank: str = ""  # the idea bank that its idea is from
    recorded_from: str = ""  # its author, as that bank says


@dataclass(frozen=True, slots=True)
class Proof:
    """What certified the leader: pairs on fresh blocks, and the evidence against chance that they gave."""

    pairs: int
    e_value: float


@dataclass(frozen=True, slots=True)
class Size:
    """How large the leader and the seed are at the proxy. limits: what the config allows, in words."""

    metric: str
    leader: float
    seed: float
    limits: str = ""


@dataclass(frozen=True, slots=True)
class Graduate:
    """A variant at a larger rung: compared with the seed there, or what it was built to and went no further.

    `scale` is its parameters over the seed's there (None: not built).
    """

    variant_id: str
    rung: str
    comparison: Comparison | None
    outcome: str  # "ok", a status with its reason, or "" when it never ran there
    scale: float | None


@dataclass(frozen=True, slots=True)
class Needs:
    """What more runs could show. `blocks`: enough for the observed difference, None when too many."""

    sd: float  # of one paired difference
    n: int
    visible: float  # what n pairs show four times out of five
    blocks: int | None


@dataclass(frozen=True, slots=True)
class Findings:
    """A campaign's result at its proxy rung and above.

    best: the front's best by the first objective, the seed included; leader: whom the final comparison was
    made for, else the front's best without the seed. search: leader and seed on the blocks that chose the
    leader, so optimistic. final: on fresh blocks, which chose nobody; test: the same runs scored on the test
    text. selection: what choosing the luckiest added to the search's claim, both on the validation text.
    """

    objective: str
    minimise: bool
    rung: str
    seed_id: str
    seed: Ranked | None  # what its runs average to; None before it has a score
    best_id: str | None
    leader_id: str | None
    search: Comparison | None
    final: Comparison | None
    final_failed: tuple[str, ...]  # without one: how its runs ended that gave no score
    test: Comparison | None
    selection: SelectionBias | None
    noise: Noise | None
    needs: Needs | None
    chain: tuple[LineageStep, ...]
    knobs: tuple[KnobChange, ...]
    lines_changed: int  # beside the knobs' lines
    front: tuple[Ranked, ...]
    graduates: tuple[Graduate, ...]
    lucky: Ranked | None  # the best mean off the front that beats the seed's
    children: int  # measured at the proxy, whatever their outcome
    statuses: dict[str, int]
    failures: tuple[Failures, ...]
    proof: Proof | None = None
    size: Size | None = None  # where they differ
    scale: str = ""  # of the proxy, in words
    not_run: tuple[str, ...] = ()  # rungs above the proxy where the leader has no score
    noise_kind: NoiseKind | None = None  # of the seed's runs in the first objective
    trust: Trust = Trust.MEASURED  # who says the first objective
    looks: int = 1  # final comparisons of the leader: the search may have gone on after one
    growth: tuple[
        tuple[str, str], ...
    ] = ()  # rungs at which the leader does not grow as the seed does: how


def find(record: Record, source_of: Callable[[str], str] | None) -> Findings:
    """The findings of what is recorded so far, from the first measurement on.

    Without `source_of` what differs in the leader's source is left out: to read two sources takes long.
    """
    ranked = ranking(record)
    front = front_of(record, ranked)
    best = front[0].variant_id if front else None
    leader = _compared(record) or next(
        (one.variant_id for one in front if one.variant_id != record.seed_id), None
    )
    search = final = test = None
    knobs: list[KnobChange] = []
    lines = 0
    if leader is not None:
        pair = (record.rows, leader, record.seed_id, record.proxy, record.objective)
        search, final = compare(*pair, CHOSEN_BY), compare(*pair, PUBLISHED)
        test = compare(*pair[:-1], _tested_by(record), PUBLISHED)
        if source_of is not None:
            sources = source_of(record.seed_id), source_of(leader)
            knobs, lines = changed_knobs(*sources), changed_lines(*sources)
    level = _noise(record)
    return Findings(
        objective=record.objective.name,
        minimise=record.objective.lower_is_better,
        rung=record.proxy,
        seed_id=record.seed_id,
        seed=next((one for one in ranked if one.variant_id == record.seed_id), None),
        best_id=best,
        leader_id=leader,
        search=search,
        final=final,
        final_failed=() if final is not None else _final_failed(record, leader),
        test=test,
        selection=selection_bias_of(record.rows, search, final, level),
        noise=level,
        needs=_needs(final or search, level),
        chain=_chain(record, leader),
        knobs=tuple(knobs),
        lines_changed=lines,
        front=tuple(front),
        graduates=tuple(_graduates(record)),
        lucky=_lucky(record, ranked),
        children=len({run.request.variant_id for run in record.runs()} - {record.seed_id}),
        statuses=by_status(record.runs()),
        failures=tuple(failures(record.runs())),
        proof=_proof(record, leader),
        size=_size(record, leader),
        scale=record.scale_in_words(record.proxy),
        not_run=_not_run(record, leader),
        noise_kind=noise_kind(_of_seed(record), record.objective.name),
        trust=trust_of(record.objective.name),
        looks=_looks(record, leader),
        growth=_growth(record, leader),
    )


def _of_seed(record: Record) -> list[MeasurementRow]:
    return [
        row for row in record.at_proxy() if row.measurement.request.variant_id == record.seed_id
    ]


def _looks(record: Record, leader: str | None) -> int:
    """How often the leader was compared at the end: its final runs, parted by what the search screened."""
    looks, comparing = 0, False
    for run in record.runs():
        if run.request.purpose is Purpose.SCREEN:
            comparing = False
        elif run.request.purpose is Purpose.FINAL and run.request.variant_id == leader:
            looks += not comparing
            comparing = True
    return looks


def _lucky(record: Record, ranked: Sequence[Ranked]) -> Ranked | None:
    """Whose mean beats all others, the seed's too, without a place on the front: it is believed less."""
    turned = record.objective.turned
    first = min(ranked, key=lambda one: (turned(one.measured.mean), one.variant_id), default=None)
    seed = next((one for one in ranked if one.variant_id == record.seed_id), None)
    if first is None or seed is None or first.standing:
        return None
    mean, seeds = turned(first.measured.mean), turned(seed.measured.mean)
    if mean >= seeds or math.isclose(mean, seeds, rel_tol=ROUNDING):
        return None
    pair = (record.rows, first.variant_id, record.seed_id, record.proxy, record.objective)
    shown = shown_beside_seed(*pair)
    return first if shown is not None and shown.gain > 0 else None


def shown_beside_seed(
    rows: Sequence[MeasurementRow], variant_id: str, seed_id: str, rung: str, objective: Objective
) -> Comparison | None:
    """The difference to the seed that every screen shows: paired, on fresh blocks where there are some."""
    pair = (rows, variant_id, seed_id, rung, objective)
    return compare(*pair, PUBLISHED) or compare(*pair, CHOSEN_BY)


def _compared(record: Record) -> str | None:
    """The variant that the final comparison was made for: the champion where there is one."""
    left_out = (record.seed_id, *record.ladder.vetoed)
    for run in reversed(record.runs()):
        if run.request.purpose is Purpose.FINAL and run.request.variant_id not in left_out:
            return run.request.variant_id
    return None


def _final_failed(record: Record, leader: str | None) -> tuple[str, ...]:
    """How the runs of the final comparison ended that gave no score, by side."""
    sides = {record.seed_id: "the seed", leader: "the leader"}
    return tuple(
        f"{sides[run.request.variant_id]} {run.status} on block {run.request.block}"
        for run in record.runs()
        if run.request.purpose is Purpose.FINAL
        and run.status is not Status.OK
        and run.request.variant_id in sides
    )


def _chain(record: Record, leader: str | None) -> tuple[LineageStep, ...]:
    if leader is None:
        return ()
    way = [made for made in record.chain(leader) if made.variant_id != record.seed_id]
    births = {str(made.variant_id): made for made in way}
    effects = paired_comparisons(record.rows, births, record.proxy, record.objective)
    return tuple(
        LineageStep(
            one,
            made.operator,
            made.idea,
            tuple(other.variant_id for other in made.parents[1:] if other.role != "ancestor"),
            effects.get(one),
            made.bank,
            made.recorded_from,
        )
        for one, made in births.items()
    )


def _proof(record: Record, leader: str | None) -> Proof | None:
    detail = record.certified.get(leader or "")
    if detail is None or not isinstance(log_e := detail.get("log_e"), int | float):
        return None
    return Proof(int(detail.get("pairs", 0)), math.exp(min(log_e, MAX_LOG_E)))


def _size(record: Record, leader: str | None) -> Size | None:
    last: dict[str, dict[str, float]] = {leader or "": {}, record.seed_id: {}}
    for run in record.runs():
        if run.request.rung == record.proxy and run.request.variant_id in last:
            last[run.request.variant_id].update(run.metrics)
    mine, seed = last[leader or ""], last[record.seed_id]
    name = next((one for one in SIZES if one in mine and one in seed), "")
    if not name or mine[name] == seed[name]:
        return None
    limits = [one.told() for one in record.ladder.constraints if one.name == name]
    return Size(name, mine[name], seed[name], "; ".join(limits))


def _not_run(record: Record, leader: str | None) -> tuple[str, ...]:
    ran = {
        run.request.rung
        for run in record.runs()
        if run.request.variant_id == leader and run.status is Status.OK
    }
    return tuple(rung for rung in record.rungs[1:] if rung not in ran) if leader else ()


def _growth(record: Record, leader: str | None) -> tuple[tuple[str, str], ...]:
    if leader is None:
        return ()
    told = ((rung, growth_of(record, leader, rung)) for rung in record.rungs[1:])
    return tuple((rung, remark) for rung, remark in told if remark)


def _tested_by(record: Record) -> Objective:
    """What final runs alone are scored by: the test text, or what a command holds out, better in one way."""
    final = (row.measurement for row in record.rows if row.measurement.request.purpose in PUBLISHED)
    held_out = next((name for one in final for name in one.metrics if is_held_out(name)), None)
    return record.objective.model_copy(update={"name": held_out}) if held_out else TEST


def _noise(record: Record) -> Noise | None:
    """Of one run: an import's repeats are known by code and words, ours by variant."""
    history = record.history()
    if history is None:
        return noise(record.rows, record.proxy, record.objective.name)
    return Noise(history.sd, history.freedom, history.groups) if history.sd is not None else None


def _needs(observed: Comparison | None, level: Noise | None) -> Needs | None:
    """From the pairs' own sd, else from the noise of one run (a difference has twice its variance)."""
    if observed is None:
        return None
    sd = observed.sd
    if not sd:
        sd = None if level is None else math.sqrt(2) * level.sd
    if not sd:
        return None
    n = max(observed.n, 2)
    return Needs(sd, n, visible_difference(sd, n), blocks_to_show(observed.difference, sd))


def _graduates(record: Record) -> list[Graduate]:
    return [one for rung in record.rungs[1:] for one in _graduates_at(record, rung)]


def _graduates_at(record: Record, rung: str) -> list[Graduate]:
    outcomes: dict[str, str] = {}
    parameters: dict[str, float] = {}
    for row in record.rows:
        run, request = row.measurement, row.measurement.request
        if request.rung not in (rung, rung + ONE_STEP) or request.purpose is not Purpose.GRADUATE:
            continue
        ok = run.status is Status.OK
        if ok and "parameters" in run.metrics:
            parameters[request.variant_id] = run.metrics["parameters"]
        outcome = "ok" if ok else f"{run.status}: {run.reason}"
        if request.rung == rung:
            outcomes[request.variant_id] = outcome
        else:
            outcomes.setdefault(
                request.variant_id, "" if ok else f"does not build there, {outcome}"
            )
    seed = parameters.get(record.seed_id)
    pair = (record.seed_id, rung, record.objective, {Purpose.GRADUATE})
    return [
        Graduate(
            variant_id,
            rung,
            compare(record.rows, variant_id, *pair),
            outcome,
            parameters[variant_id] / seed if seed and variant_id in parameters else None,
        )
        for variant_id, outcome in outcomes.items()
        if variant_id != record.seed_id
    ]


def changed_knobs(before: str, after: str) -> list[KnobChange]:
    """The knobs whose literals differ, in the order of the later source, lost ones last."""
    from operators.source.knobs import sound_knobs

    old = {knob.name: knob.text for knob in sound_knobs(before)}
    new = {knob.name: knob.text for knob in sound_knobs(after)}
    names = dict.fromkeys([*new, *old])
    return [
        KnobChange(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]


def changed_lines(before: str, after: str) -> int:
    """How many lines were added, removed or changed, lines of knobs left out."""
    from operators.source.compare import Matcher

    old, new = _without_knobs(before), _without_knobs(after)
    blocks = Matcher(old, new).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in blocks if kind != "equal")


def _without_knobs(source: str) -> list[str]:
    from operators.source.knobs import sound_knobs
    from operators.source.parse import lines_of

    lines = {knob.line for knob in sound_knobs(source)}
    return [text for number, text in enumerate(lines_of(source), 1) if number not in lines]
