"""What stands in the report, section by section; each is a function of what is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evo.analysis.climb import climb
from evo.analysis.findings import Findings, changed_knobs
from evo.analysis.ladder import Terms
from evo.analysis.overview import Overview
from evo.analysis.ranking import Ranked, ranking
from evo.analysis.record import Record
from evo.report.dossiers import pack
from evo.report.drawing import colours
from evo.report.fronts import fronts
from evo.report.ladder import ladders
from evo.report.lineage import Marked, lineage
from evo.report.page import Figure, Page, Section, Table
from evo.report.progress import progress
from evo.report.spending import operator_shares, slot_time
from evo.terminal import sentences
from evo.terminal.ladder import report as ladder_report
from evo.terminal.numbers import count, duration, plus_minus, share, signed, value
from evo.terminal.text import clip, short
from population.lineage import Lineage
from population.reading import decisions
from population.records import Decided
from population.store import Store
from population.traces import facts
from population.variant import ONE_STEP, Purpose

VERDICT = "verdict"  # the kind of decision that ends an attempt at certification
MOST_ROWS = 25


@dataclass(frozen=True, slots=True)
class Told:
    """A campaign as the report needs it, read once."""

    store: Store
    record: Record
    overview: Overview
    ranked: Sequence[Ranked]
    by_id: Mapping[str, Ranked]
    verdicts: Sequence[Decided]
    source_of: Callable[[str], str]
    config: str  # the file as run
    colour: Mapping[str, str]

    @property
    def findings(self) -> Findings:
        """What was found."""
        return self.overview.findings


def page_of(
    store: Store,
    record: Record,
    overview: Overview,
    source_of: Callable[[str], str],
    config: str,
) -> Page:
    """The whole report of one campaign."""
    ranked = ranking(record)
    told = Told(
        store,
        record,
        overview,
        ranked,
        {one.variant_id: one for one in ranked},
        decisions(store, (VERDICT,)),
        source_of,
        config,
        colours(made.operator for made in record.births().values()),
    )
    sections = (
        _progress(told),
        _fronts(told),
        _family(told),
        _ladder(told),
        _operators(told),
        _failures(told),
        _spending(told),
        _noise(told),
        _sandbox(told),
        _again(told),
    )
    findings = overview.findings
    found, sure = sentences.found(findings), sentences.certainty(findings)
    return Page(
        title=f"{overview.name}: evolution of train.py",
        subtitle=_subtitle(told),
        headline=_headline(findings),
        lines=[*found, *sure],
        merits=_merits(told),
        sections=[one for one in sections if one is not None],
        pack=pack(store, record, ranked, source_of),
    )


def _headline(findings: Findings) -> str:
    """The one thing to know, with its n: the sentences below it say how sure that is."""
    fresh, leader = findings.final, findings.leader_id
    if fresh is None or leader is None:
        return sentences.found(findings)[0]
    difference = f"{signed(fresh.metric, fresh.difference)} {fresh.metric} on {count(fresh.n, 'fresh block')}"
    return f"{short(leader)} is {sentences.MEANS[fresh.verdict]}: {difference}"


def _subtitle(told: Told) -> str:
    runs = told.record.attempts
    if not runs:
        return "nothing measured yet"
    first = time.strftime("%Y-%m-%d %H:%M", time.gmtime(runs[0].measurement.started_at))
    hosts = sorted({row.measurement.host for row in runs})
    return (
        f"began {first} UTC · {count(len(runs), 'run')} · {count(told.findings.children, 'child', 'children')}"
        f" · {count(told.overview.slots, 'slot')} on {count(len(hosts), 'machine')} · {told.overview.phase}"
    )


def _merits(told: Told) -> list[tuple[str, str, str]]:
    findings, metric = told.findings, told.findings.objective
    merits = []
    seed = told.by_id.get(findings.seed_id)
    if seed is not None:
        merits.append(
            (f"seed, {metric}", value(metric, seed.estimates[metric].mean), _known(seed, metric))
        )
    leader = told.by_id.get(findings.leader_id or "")
    if leader is not None:
        text = value(metric, leader.estimates[metric].mean)
        merits.append((f"leader {short(leader.variant_id)}", text, _known(leader, metric)))
    fresh = findings.final
    if fresh is not None:
        ends = "too few pairs for an interval"
        if fresh.low is not None:
            ends = f"95 %: {signed(metric, fresh.low)} to {signed(metric, fresh.high)}, n={fresh.n}"
        merits.append(("difference on fresh blocks", signed(metric, fresh.difference), ends))
    certified = sum(one.detail.get("verdict") == "certified" for one in told.verdicts)
    tried = count(len(told.verdicts), "attempt")
    merits.append(("certified champions", str(certified), tried))
    busy = share(told.overview.slot_busy_share)
    merits.append(
        ("slots busy", busy, f"{duration(told.overview.spent.slot_seconds)} of slot time")
    )
    return merits


def _known(one: Ranked, metric: str) -> str:
    found = one.estimates[metric]
    sd = f"± {value(metric, found.sd)}, " if found.sd == found.sd else ""
    return f"{sd}n={found.n}"


def _progress(told: Told) -> Section | None:
    figure = progress(told.record, told.findings.noise, told.verdicts, told.colour)
    if figure is None:
        return None
    about = (
        "Every measurement at the proxy, by the operator that made the variant. The dotted line is the "
        "estimate of whoever was believed best at the time; a golden line is a certified champion. What lies "
        "within the grey band cannot be told from the seed by one run."
    )
    return Section("progress", "Progress", figures=(Figure("progress", figure, about),))


def _fronts(told: Told) -> Section | None:
    if not told.overview.front_size:
        return None
    changes = {one.variant_id: _change(told, one) for one in told.ranked if one.standing}
    figures = [
        Figure(
            f"front-{place}",
            figure,
            "One sd of the mean each way. Click a point to open the variant.",
            title,
        )
        for place, (title, figure) in enumerate(
            fronts(told.ranked, told.record.objectives, changes)
        )
    ]
    names = [one.name for one in told.record.objectives]
    rows = [one for one in told.ranked if one.standing]
    rows += [one for one in told.ranked if not one.standing][: max(0, MOST_ROWS - len(rows))]
    table = Table(
        ("variant", "standing", *(name.replace("_", " ") for name in names), "operator", "idea"),
        [_front_row(one, names) for one in rows],
        [one.variant_id for one in rows],
    )
    return Section("front", "Pareto front", figures=figures, tables=(table,))


def _front_row(one: Ranked, names: Sequence[str]) -> list[str]:
    first, *others = names
    mean = one.estimates[first]
    cells = [
        short(one.variant_id),
        one.standing or "–",
        plus_minus(first, mean.mean, mean.sd, mean.n),
    ]
    cells += [
        value(name, one.estimates[name].mean if name in one.estimates else None) for name in others
    ]
    return [*cells, one.operator, clip(one.idea, 300)]


def _change(told: Told, one: Ranked) -> str:
    """The knobs it moved in its first parent, for a hover label."""
    made = told.record.births().get(one.variant_id)
    if made is None or not made.parents:
        return ""
    before, after = told.source_of(made.parents[0].variant_id), told.source_of(one.variant_id)
    moved = changed_knobs(before, after)
    return "\n".join(f"{knob.name}: {knob.before} → {knob.after}" for knob in moved[:6])


def _family(told: Told) -> Section | None:
    if len(told.record.births()) < 2:
        return None
    findings = told.findings
    marked = Marked(
        (findings.seed_id, *(step.variant_id for step in findings.chain)),
        [str(one.variant_id) for one in told.verdicts if one.detail.get("verdict") == "certified"],
        [one.variant_id for one in findings.graduates if one.outcome == "ok"],
    )
    figure = lineage(told.record, Lineage.of(told.store), told.by_id, marked, told.colour)
    about = (
        "Each dot is a variant under its first parent, in the order they were proposed; lineages lie in lanes, "
        "the largest first. Large dots are on the front, faint ones have no score. Click one to open it."
    )
    steps = Table(
        ("step", "operator", "idea"),
        [(short(s.variant_id), s.operator, clip(s.idea, 300)) for s in findings.chain],
        [s.variant_id for s in findings.chain],
    )
    lines = ["The way from the seed to the leader:"] if findings.chain else []
    tables = (steps,) if findings.chain else ()
    return Section("family", "Lineage", lines, (Figure("family", figure, about),), tables)


def _ladder(told: Told) -> Section | None:
    drawn = ladders(told.record, told.by_id)
    lines = [sentences.graduation(one) for one in told.findings.graduates]
    if told.record.ladder.choices:
        climbed = climb(told.record, Terms(manual=False, blocks=1), told.source_of)
        lines += [line for _, told_of in ladder_report(climbed) for line in told_of]
    if not drawn and not lines:
        return None
    about = (
        "Dotted: the seed. Below and to the left of both lines a variant is better at both rungs."
    )
    figures = [
        Figure(f"rung-{place}", figure, about, f"{told.record.proxy} and {rung}")
        for place, (rung, figure) in enumerate(drawn)
    ]
    return Section("ladder", "Larger rungs", lines, figures)


def _operators(told: Told) -> Section | None:
    if not told.overview.operators:
        return None
    rows = [
        (
            one.operator,
            f"{one.proposals:,}",
            f"{one.children:,}",
            f"{one.better} of {one.measured}",
            str(one.on_front),
            duration(one.slot_seconds),
            f"{one.tokens:,}" if one.tokens else "–",
            f"{one.dollars:.2f}" + (" + unknown" if one.price_unknown else "")
            if one.tokens
            else "–",
        )
        for one in told.overview.operators
    ]
    columns = (
        "operator",
        "proposals",
        "children",
        "beat a parent (one run)",
        "on the front",
        "slot time",
        "tokens",
        "dollars",
    )
    figure = operator_shares(told.record, told.colour)
    about = "Who proposed, over time."
    figures = (Figure("shares", figure, about),) if figure is not None else ()
    return Section("operators", "Operators", figures=figures, tables=(Table(columns, rows),))


def _failures(told: Told) -> Section | None:
    if not told.findings.failures:
        return None
    rows = [
        (short(one.variant_id), one.kind.replace("_", " "), str(one.count), clip(one.example, 400))
        for one in told.findings.failures
    ]
    ids = [one.variant_id for one in told.findings.failures]
    return Section(
        "failures",
        "Failures",
        tables=(Table(("example", "kind", "runs", "reason of the last"), rows, ids),),
    )


def _spending(told: Told) -> Section:
    one = told.overview
    figure = slot_time(told.record, one.slot_busy_share)
    about = "Where the slots' time went; idle is what was not used between the first start and the last."
    rows = [
        (
            name.replace("llm_", "LLM ").replace("_", " "),
            _amount(name, used.used),
            _amount(name, used.limit),
        )
        for name, used in one.budget.items()
    ]
    lines = [
        f"Slots were busy {share(one.slot_busy_share)} of the time; a run costs "
        f"{duration(one.overhead_seconds_median)} beside its training (median)."
    ]
    figures = (Figure("slots", figure, about),) if figure is not None else ()
    return Section(
        "budget", "Budget", lines, figures, (Table(("budget", "used", "allowed"), rows),)
    )


def _amount(name: str, amount: float | None) -> str:
    if amount is None:
        return "no limit"
    if name == "seconds":
        return duration(amount)
    return f"{amount:.2f}" if name == "llm_dollars" else f"{amount:,.0f}"


def _noise(told: Told) -> Section | None:
    metric = told.findings.objective
    rows = []
    for purpose in (Purpose.CALIBRATE, Purpose.REFERENCE):
        runs = [
            row.measurement
            for row in told.record.rows
            if row.measurement.order.variant_id == told.record.seed_id
            and row.measurement.order.purpose is purpose
            and metric in row.measurement.metrics
            and not row.measurement.order.rung.endswith(ONE_STEP)
        ]
        for rung in dict.fromkeys(run.order.rung for run in runs):
            scores = [run.metrics[metric] for run in runs if run.order.rung == rung]
            rows.append(
                (
                    purpose.value,
                    rung,
                    str(len(scores)),
                    value(metric, fmean(scores)),
                    _range(metric, scores),
                )
            )
    if not rows:
        return None
    table = Table(("runs of the seed", "rung", "n", f"mean {metric}", "lowest to highest"), rows)
    return Section("noise", "Noise", sentences.needs(told.findings), tables=(table,))


def _range(metric: str, scores: Sequence[float]) -> str:
    return f"{value(metric, min(scores))} to {value(metric, max(scores))}"


def _sandbox(told: Told) -> Section | None:
    found = [(held, runs) for held, runs in facts(told.store) if held]
    if not found:
        return None
    held, _ = found[0]
    shown = [(name, text) for name, text in held.items() if "digest" not in name]
    lines = [f"As recorded with the runs ({count(sum(runs for _, runs in found), 'run')})."]
    return Section("sandbox", "Sandbox", lines, tables=(Table(("promise", "held by"), shown),))


def _again(told: Told) -> Section:
    lines = [
        "To run it again: save the config below beside train.py and brief.md from the campaign's folder, "
        "then `evo run config.yaml`. To take the leader home: `evo export best -o train.py`. Every figure is "
        "made from rows of campaign.db: `sqlite-utils rows campaign.db v_measurements -t`."
    ]
    return Section("again", "Reproduce", lines, texts={"The config as run": told.config})
