"""The sections of the report, each a function of what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from evo.analysis.effects_of_edits import better_than_parents
from evo.analysis.findings import Findings, changed_knobs
from evo.analysis.imported import Imported
from evo.analysis.ladder import Terms
from evo.analysis.ladder_report import ladder_report
from evo.analysis.ranking import Ranked
from evo.evaluation.sandbox.probe import NAMES
from evo.report.figures import (
    PAIR_HEIGHT,
    fronts,
    ladders,
    operator_shares,
    progress,
    slot_time,
)
from evo.report.lineage import Marked, fold, height_of, lineage, place_all
from evo.report.page import Figure, ReportData, ReportTable, Section
from evo.terminal import sentences
from evo.terminal.imported import REMARK, keep_cells
from evo.terminal.ladder import ladder_lines
from evo.terminal.tables import caption, parts_in_words, standing_in_words
from evo.terminal.text import (
    GLOSSARY,
    NOTE,
    clip,
    count,
    dated_line,
    duration,
    plain,
    plus_minus,
    share,
    short,
    value,
)
from population.metrics import label
from population.reading.traces import facts
from population.types import Outcome, ProposalRow

MAX_ROWS = 25
MAX_EVENTS = 200
PROPOSING = (
    "operator",
    "proposals",
    "children",
    "beat a parent (one run)",
    "on the front",
    "slot time",
    "tokens",
    "dollars",
)


def progress_section(data: ReportData) -> Section | None:
    """Every measurement, and who led."""
    first = data.record.objective.name
    if not any(first in row.measurement.metrics for row in data.record.at_proxy()):
        return None
    golden = "; a golden line is a certified champion" if data.overview.certifies else ""
    about = (
        "Every measurement at the proxy, by the operator that made the variant. The dotted line is the "
        f"estimate of the variant believed best at the time{golden}. What lies within the grey band cannot be "
        "told from the seed by one run."
    )
    if data.overview.imported is not None:
        about = (
            "Every number as reported, in the order of the history, by what the history made of it. The dotted "
            "line is the variant with the best mean at the time. What lies within the grey band cannot be told "
            "from the seed by one run."
        )
    make = partial(progress, data.record, data.findings.noise, data.verdicts, data.colour)
    return Section("progress", "Progress", figures=(Figure("progress", make, about),))


def fronts_section(data: ReportData) -> Section | None:
    """Each pair of objectives, and the best as a table."""
    if not data.overview.front_size:
        return None
    changes = {one.variant_id: _change(data, one) for one in data.ranked if one.standing}
    figures = [
        Figure(
            f"front-{place}",
            make,
            "Levels are what is believed; bars: one sd of it each way. Click a point to open the variant.",
            title,
            PAIR_HEIGHT,
        )
        for place, (title, make) in enumerate(fronts(data.ranked, data.record.objectives, changes))
    ]
    names = [one.name for one in data.record.objectives]
    rows = [one for one in data.ranked if one.standing]
    rows += [one for one in data.ranked if not one.standing][: max(0, MAX_ROWS - len(rows))]
    table = ReportTable(
        (
            "variant",
            "standing",
            f"{label(names[0]).replace('_', ' ')} (believed)",
            *(label(name).replace("_", " ") for name in names[1:]),
            "operator",
            "idea",
        ),
        [_front_row(one, names, data.record.seed_id) for one in rows],
        [one.variant_id for one in rows],
    )
    lines = [f"In the table {caption(data.record.objective)}."]
    return Section("front", "Pareto front", lines, figures=figures, tables=(table,))


def _front_row(one: Ranked, names: Sequence[str], seed_id: str) -> list[str]:
    first, *others = names
    cells = [
        short(one.variant_id),
        standing_in_words(one, seed_id),
        plus_minus(first, *one.told(first)),
    ]
    cells += [
        value(name, one.estimates[name].mean if name in one.estimates else None) for name in others
    ]
    return [
        *cells,
        f"{one.operator} on {one.island}" if one.island else one.operator,
        clip(one.idea, 300),
    ]


def _change(data: ReportData, one: Ranked) -> str:
    """The knobs it moved in its first parent, for a hover label."""
    made = data.record.births().get(one.variant_id)
    if made is None or not made.parents:
        return ""
    before, after = data.source_of(made.parents[0].variant_id), data.source_of(one.variant_id)
    moved = changed_knobs(before, after)
    return "\n".join(f"{knob.name}: {knob.before} → {knob.after}" for knob in moved[:6])


def family_section(data: ReportData) -> Section | None:
    """Who came from whom, and the way to the leader."""
    if len(data.record.births()) < 2:
        return None
    findings = data.findings
    marked = Marked(
        (findings.seed_id, *(step.variant_id for step in findings.chain)),
        [str(one.variant_id) for one in data.verdicts if one.detail.get("verdict") == "certified"],
        [one.variant_id for one in findings.graduates if one.outcome == "ok"],
    )
    folds = fold(data.record, marked)
    places = place_all(data.record, folds)
    make = partial(lineage, data.record, folds, places, data.by_id, marked, data.colour)
    about = (
        "Each dot is a variant under its first parent, in the order they were proposed; lineages lie in lanes, "
        "the largest first. Large dots are on the front, faint ones have no score. Click one to open it."
    )
    if folds.of:
        about += (
            " A triangle is folded: dead branches, on which nobody leads, waits, went up or is young; "
            "+12 says how many variants it hides. Click it, or choose it below, to open them."
        )
    steps = ReportTable(
        ("step", "operator", "against its parent", "idea"),
        [
            (
                short(s.variant_id),
                s.operator,
                sentences.beside(s.effect) if s.effect is not None else "no common block",
                clip(s.idea, 300),
            )
            for s in findings.chain
        ],
        [s.variant_id for s in findings.chain],
    )
    lines = (
        ["The way from the seed to the leader is golden here, and a table below."]
        if findings.chain
        else []
    )
    tables = (steps,) if findings.chain else ()
    figure = Figure("family", make, about, height=height_of(places, folds))
    return Section("family", "Lineage", lines, (figure,), tables)


def ladder_section(data: ReportData) -> Section | None:
    """What the larger rungs said."""
    drawn = ladders(data.record, data.by_id)
    lines = [sentences.graduation(one) for one in data.findings.graduates]
    if data.record.ladder.choices:
        ladder = ladder_report(data.record, Terms(manual=False, blocks=1), data.source_of)
        lines += [line for _, told_of in ladder_lines(ladder) for line in told_of]
    if not drawn and not lines:
        return None
    about = (
        "Dotted: the seed. Below and to the left of both lines a variant is better at both rungs."
    )
    figures = [
        Figure.drawn(f"rung-{place}", figure, about, f"{data.record.proxy} and {rung}")
        for place, (rung, figure) in enumerate(drawn)
    ]
    return Section("ladder", "Larger rungs", lines, figures)


def operators_section(data: ReportData) -> Section | None:
    """What each operator earned."""
    if not data.overview.operators:
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
        for one in data.overview.operators
    ]
    figure = operator_shares(data.record, data.colour)
    about = "Who proposed, over time."
    figures = (Figure.drawn("shares", figure, about),) if figure is not None else ()
    tables = (ReportTable(PROPOSING, rows), *_models(data), *_prompts(data))
    return Section("operators", "Operators", figures=figures, tables=tables)


def _models(data: ReportData) -> tuple[ReportTable, ...]:
    """What each model's children came to; nothing where none proposed."""
    record, by_model = data.record, dict[str, list[ProposalRow]]()
    for made in record.proposals:
        if made.model:
            by_model.setdefault(made.model, []).append(made)
    if not by_model:
        return ()
    better = better_than_parents(record.rows, record.births(), record.proxy, record.objective)
    again = {one.model: one.again_share for one in data.overview.answers}
    rows = []
    for model, asked in by_model.items():
        children = {str(one.variant_id) for one in asked if one.outcome is Outcome.VARIANT}
        tokens = sum(one.cost.tokens_in + one.cost.tokens_out for one in asked)
        known = [one.cost.dollars for one in asked if one.cost.dollars is not None]
        unknown = " + unknown" if len(known) < len(asked) else ""
        rows.append(
            (
                model,
                f"{len(asked):,}",
                f"{len(children):,}",
                f"{sum(one in better for one in children)} of {sum(one in data.by_id for one in children)}",
                str(sum(one in record.front for one in children)),
                f"{tokens:,}" if tokens else "–",
                (f"{sum(known):.2f}{unknown}" if known else "unknown") if tokens else "–",
                share(again.get(model)),
            )
        )
    columns = ("model", *PROPOSING[1:5], *PROPOSING[6:], "answers asked for twice")
    return (ReportTable(columns, rows),)


def _prompts(data: ReportData) -> tuple[ReportTable, ...]:
    """What models were asked; nothing where none was."""
    columns = ("asked by", "calls", "tokens in", "tokens out", "prompts by part")
    rows = [
        (
            one.operator,
            f"{one.calls:,}",
            f"{one.tokens_in:,}",
            f"{one.tokens_out:,}",
            parts_in_words(one.parts),
        )
        for one in data.overview.prompts
    ]
    return (ReportTable(columns, rows),) if rows else ()


def failures_section(data: ReportData) -> Section | None:
    """How runs failed, with one example each."""
    if not data.findings.failures:
        return None
    rows = [
        (short(one.variant_id), one.kind.replace("_", " "), str(one.count), clip(one.example, 400))
        for one in data.findings.failures
    ]
    ids = [one.variant_id for one in data.findings.failures]
    return Section(
        "failures",
        "Failures",
        tables=(ReportTable(("example", "kind", "runs", "reason of the last"), rows, ids),),
    )


def spending_section(data: ReportData) -> Section:
    """Slot time and budgets."""
    one = data.overview
    figure = slot_time(data.record, one.slot_busy_share)
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
    if one.stale_measurements_median is not None:
        lines.append(f"Freshness: {sentences.freshness(one.stale_measurements_median)}.")
    lines += [f"Beside the budgets {rule.line}." for rule in one.stop]
    figures = (Figure.drawn("slots", figure, about),) if figure is not None else ()
    return Section(
        "budget", "Budget", lines, figures, (ReportTable(("budget", "used", "allowed"), rows),)
    )


def _amount(name: str, amount: float | None) -> str:
    if amount is None:
        return "no limit"
    if name == "seconds":
        return duration(amount)
    return f"{amount:.2f}" if name == "llm_dollars" else f"{amount:,.0f}"


def sandbox_section(data: ReportData) -> Section | None:
    """What held the runs."""
    found = [(held, runs) for held, runs in facts(data.store) if held]
    if not found:
        return None
    on_gpu = any(row.measurement.device not in ("", "cpu") for row in data.record.attempts)
    promises = [one for one in ("sandbox", "user", *NAMES) if one != "gpu" or on_gpu]
    shown = [(name, text) for name in promises if (text := _ways(name, found))]
    lines = [f"As recorded with the runs ({count(sum(runs for _, runs in found), 'run')})."]
    return Section(
        "sandbox", "Sandbox", lines, tables=(ReportTable(("promise", "held by"), shown),)
    )


def _ways(promise: str, found: Sequence[tuple[Mapping[str, str], int]]) -> str:
    """How a promise was held, each way with its runs where there were several; "" where no run says."""
    ways: Counter[str] = Counter()
    for held, runs in found:
        if promise in held:
            ways[held[promise]] += runs
    if len(ways) < 2:
        return next(iter(ways), "")
    return "; ".join(f"{way} ({count(runs, 'run')})" for way, runs in ways.most_common())


def events_section(data: ReportData) -> Section | None:
    """What happened, the newest last, as `evo log` tells it."""
    newest = data.record.events[-MAX_EVENTS:]
    if not newest:
        return None
    text = "\n".join(dated_line(one.created_at, plain(one.text)) for one in newest)
    title = f"The newest {len(newest):,} lines; `evo log` has all"
    return Section("events", "What happened", texts={title: text})


def words_section() -> Section:
    """What the words of this page mean."""
    table = ReportTable(("word", "what it means"), list(GLOSSARY.items()))
    return Section("words", "Words", [NOTE], tables=(table,))


def take_home(findings: Findings, several: bool = False) -> str:
    """The command that writes the leader to a file, or to `several`; "" where nobody leads."""
    if findings.leader_id is None:
        return ""
    where = "" if several else " -o train.py"
    return f"To take the leader home: `evo export {short(findings.leader_id)}{where}`. "


def again_section(data: ReportData) -> Section:
    """The config as run, and how to run it again."""
    several = len((data.record.config.get("task") or {}).get("files", ())) > 1
    lines = [
        "To run it again: save the config below beside train.py and brief.md from the campaign's folder, "
        f"then `evo run config.yaml`. {take_home(data.findings, several)}Every figure "
        "is made from rows of campaign.db: `sqlite-utils rows campaign.db v_measurements -t`."
    ]
    return Section("again", "Reproduce", lines, texts={"The config as run": data.config})


# -- The keeps of an imported history: which of them stand out from its noise.


COLUMNS = ("line", "commit", "before", "after", "gain", "verdict", "description")


def keeps_section(one: Imported | None) -> Section | None:
    """Every keep beside the kept run before it, and lines that were not read; None without an import."""
    if one is None:
        return None
    rows = [keep_cells(keep, one.metric) for keep in one.keeps]
    table = ReportTable(COLUMNS, rows, [keep.variant_id for keep in one.keeps])
    lines = [f"Every number here is {REMARK}.", *one.problems]
    return Section("keeps", "Keeps, as reported", lines, tables=(table,) if rows else ())


def origin_section(take_home: str) -> Section:
    """In the place of budget, sandbox and how to run again, which a history that was read has none of."""
    lines = [
        "Self-reported, imported from git history; nothing was run here. So there are no slots, no budget, no "
        "calibration and no sandbox to tell of, and no config to run again: `evo run CONFIG` starts a search "
        f"that measures for itself. {take_home}Every figure is "
        "made from rows of campaign.db: `sqlite-utils rows campaign.db v_measurements -t`."
    ]
    return Section("origin", "Where it comes from", lines)
