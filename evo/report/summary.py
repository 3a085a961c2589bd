"""SUMMARY.md: what a campaign tried, what holds, what was refuted, what it cost, and how to do it again.

Every sentence is made from rows, at any state of a campaign; the words are those of the closing screen.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader

from evo.analysis.campaign_view import Record
from evo.analysis.ladder_report import LadderReport
from evo.analysis.overview import Overview
from evo.files import objection, write_file
from evo.search.halting import HALTED, way_on
from evo.terminal import sentences
from evo.terminal.imported import imported_lines
from evo.terminal.ladder import ladder_lines
from evo.terminal.status import told_lines
from evo.terminal.text import clip, count, duration, placed, plain, plus_minus, share, short
from population.islands import CHECKED, ClaimVerdict, checked_in_words
from population.metrics import label
from population.types import CampaignState, Decision, DecisionRow

SUMMARY = "SUMMARY.md"
MARK = "<!-- Written by evotrain, anew at the end of every run of the campaign. -->"
TEMPLATE = "summary.md"
WIDTH = 80
MAX_FRONT, MAX_IDEA, MAX_OPERATORS, MAX_CLAIMS_TOLD = 6, 100, 10, 6
MARKUP = re.compile(r"([\\`*_<\[\]#|])")  # what Markdown would read in foreign text
TAGS = re.compile(r"([<\[])")  # what it would read in sentences of ours that quote some
VERDICT, CERTIFIED = "verdict", "certified"
COST = "What it cost"


@dataclass(frozen=True, slots=True)
class SummaryPart:
    """A heading with its lines, and commands to type."""

    title: str
    lines: tuple[str, ...]
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """What the file says; `complete`: whether nothing is left for `evo resume`."""

    title: str
    state: str
    headline: str
    complete: bool
    parts: tuple[SummaryPart, ...]


@dataclass(frozen=True, slots=True)
class ToldByModel:
    """The summary in a model's words, every number of it checked; `tokens`: in and out, that it cost."""

    text: str
    model: str
    tokens: int = 0


def summary_of(
    record: Record,
    overview: Overview,
    ladder: LadderReport | None,
    verdicts: Sequence[DecisionRow],
    where: str = "",
) -> CampaignSummary:
    """Everything that SUMMARY.md says.

    `verdicts`: of certification and of sceptics. `where`: " --dir FOLDER" for commands to type.
    """
    found = overview.findings
    headline = sentences.headline(found) or told_lines(overview)[0]
    if overview.imported is not None:
        headline = imported_lines(overview.imported)[0]
    parts = [
        SummaryPart("What was tried", tuple(_tried(record, overview))),
        SummaryPart("What holds", tuple(_holds(record, overview, verdicts))),
        SummaryPart(
            "What was refuted, or is not shown", tuple(_refuted(record, overview, verdicts))
        ),
        SummaryPart("What transfers to larger scale", tuple(_transfers(record, overview, ladder))),
        SummaryPart(COST, tuple(_cost(overview))),
        SummaryPart(
            "What to try next", tuple(_next(record, overview, where)), _go_on(overview, where)
        ),
        SummaryPart("How to reproduce it", tuple(_again(record, overview)), _take(overview, where)),
    ]
    complete = overview.state is CampaignState.COMPLETE
    return CampaignSummary(
        f"{overview.name}: summary",
        plain(placed(overview.phase, where)),
        headline,
        complete,
        tuple(parts),
    )


def render_summary(one: CampaignSummary, told: ToldByModel | None = None) -> str:
    """The Markdown, at most 80 columns wide where words allow it; `told` comes above what is made from rows."""
    environment = Environment(
        loader=PackageLoader("evo.report"), trim_blocks=True, lstrip_blocks=True
    )
    wrapped = CampaignSummary(
        one.title,
        _wrapped(one.state, ""),
        _wrapped(one.headline, "> ")[2:],
        one.complete,
        tuple(
            SummaryPart(
                part.title, tuple(_wrapped(line, "- ") for line in part.lines), part.commands
            )
            for part in one.parts
        ),
    )
    prose = () if told is None else tuple(_prose(told))
    text = environment.get_template(TEMPLATE).render(
        one=wrapped, mark=MARK, title=plain(one.title), prose=prose
    )
    return text.rstrip() + "\n"


def _prose(told: ToldByModel) -> list[str]:
    """What a model wrote, marked as such: its headings below ours, nothing else in it is markup."""
    cost = f" Asking it cost {told.tokens:,} tokens more." if told.tokens else ""
    mark = (
        f"Written by {_foreign(told.model)} from the rows; every number was checked against them."
    )
    lines = [_wrapped(mark + cost, "> ")]
    for line in told.text.splitlines():
        words = plain(line)
        if words.startswith("#"):
            lines.append(f"### {_quiet(words.lstrip('# '))}")
        elif words:
            lines.append(_wrapped(_quiet(words.removeprefix("- ")), "- " * words.startswith("- ")))
    return lines


def write_summary(path: Path, text: str) -> str:
    """Write it, never over a file that we did not write; why not in words, "" where it is written."""
    if problem := objection(path, ours=MARK):
        return f"no summary was written: {problem.partition(';')[0]}"
    write_file(path, text)
    return ""


def _wrapped(line: str, begin: str) -> str:
    after = "> " if begin == "> " else " " * len(begin)
    return textwrap.fill(
        " ".join(line.split()),
        WIDTH,
        initial_indent=begin,
        subsequent_indent=after,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _quiet(text: str) -> str:
    """Foreign text in which nothing is markup."""
    return MARKUP.sub(r"\\\1", text)


def _tagless(line: str) -> str:
    return TAGS.sub(r"\\\1", line)


def _foreign(text: str) -> str:
    return _quiet(clip(text, MAX_IDEA))


def _tried(record: Record, overview: Overview) -> list[str]:
    found = overview.findings
    asked = ", ".join(
        f"{label(one.name)} ({'lower' if one.lower_is_better else 'higher'} is better)"
        for one in record.objectives
    )
    lines = [f"Objectives: {asked}; measured at {plain(found.rung)}{_scale(found.scale)}."]
    if overview.imported is not None:
        return [*lines, *imported_lines(overview.imported)[1:]]
    if overview.calibrates:
        return [*lines, "Only the seed was measured: this is a calibration."]
    outcomes = {**overview.proposals}
    new = outcomes.pop("variant", 0)
    made = [count(new, "new child", "new children")] if new else []
    made += [f"{number:,} {name}" for name, number in outcomes.items()]
    lines.append(
        f"Proposals: {', '.join(made) or 'none yet'}; {count(found.children, 'child', 'children')} measured."
    )
    for one in overview.operators[:MAX_OPERATORS]:
        if one.measured:
            certified = f", {one.certified} certified" if one.certified else ""
            lines.append(
                f"{plain(one.operator)}: {one.measured:,} measured, {one.better:,} beat a parent on a "
                f"common block (single runs, luck included){certified}."
            )
    asked_by = sorted({one.author for one in record.proposals if one.author != "evotrain"})
    if asked_by:
        lines.append(f"Beside evotrain itself, {_foreign(', '.join(asked_by))} made proposals.")
    return lines


def _scale(scale: str) -> str:
    return f" ({plain(scale)})" if scale else ""


def _holds(record: Record, overview: Overview, verdicts: Sequence[DecisionRow]) -> list[str]:
    found, lines = overview.findings, list[str]()
    lines += sentences.trust(found)
    for variant_id, detail in record.certified.items():
        pairs = count(int(detail.get("pairs", 0)), "pair")
        against = str(detail.get("champion", record.seed_id))
        champion = "the seed" if against == record.seed_id else short(against)
        veto = "; a person has vetoed it since" if variant_id in record.ladder.vetoed else ""
        lines.append(
            f"{short(variant_id)} is certified better than {champion}, by {pairs} on fresh blocks{veto}."
        )
    if not record.certified and overview.imported is None and not overview.calibrates:
        why = "" if overview.certifies else ", for certification.attempts is 0"
        lines.append(f"Nothing is certified{why}.")
    lines += _checked(verdicts, {ClaimVerdict.UPHELD})
    if found.proof is not None:
        lines.append(sentences.proven(found.proof))
    if found.final is not None:
        lines += [*sentences.found(found), sentences.interval(found.final)]
    if found.test is not None:
        lines.append(sentences.tested(found.test))
    lines += [line for line in sentences.certainty(found) if line.startswith("Selection bias")]
    for one in found.front[:MAX_FRONT]:
        if one.variant_id == record.seed_id:
            continue
        believed = ", ".join(
            f"{label(metric.name)} {plus_minus(metric.name, *one.told(metric.name))}"
            for metric in record.objectives
            if metric.name in one.estimates
        )
        idea = f': "{_foreign(one.idea)}"' if one.idea else ""
        lines.append(
            f"{short(one.variant_id)} ({one.standing or 'candidate'}) is believed at {believed}{idea}."
        )
    if len(found.front) > MAX_FRONT:
        lines.append(f"The front has {count(len(found.front), 'member')}; `evo top` shows all.")
    return lines or ["Nothing yet."]


def _refuted(record: Record, overview: Overview, verdicts: Sequence[DecisionRow]) -> list[str]:
    found, lines = overview.findings, list[str]()
    for one in verdicts:
        if one.kind == VERDICT and one.detail.get("verdict") != CERTIFIED and one.variant_id:
            pairs = count(int(one.detail.get("pairs", 0)), "pair")
            why = plain(str(one.detail.get("verdict", "")))
            lines.append(
                f"{short(one.variant_id)} was not certified: {why} after {pairs} on fresh blocks."
            )
    lines += _checked(verdicts, {ClaimVerdict.REFUTED, ClaimVerdict.UNPROVEN})
    if found.final is None and found.leader_id is not None:
        lines += sentences.found(found)
    if found.lucky is not None and found.leader_id is not None:
        lines.append(
            f"{short(found.lucky.variant_id)} has the best mean, which few runs explain by luck."
        )
    lines += [f"A person vetoed {short(one)}." for one in record.ladder.vetoed]
    lines += [_tagless(line) for line in sentences.failed(found.failures)]
    if record.voided:
        lines.append(f"{count(len(record.voided), 'run')} did not count and were made again.")
    return lines or ["Nothing was refuted: no claim has been put to the proof so far."]


def _checked(verdicts: Sequence[DecisionRow], wanted: Collection[str]) -> list[str]:
    """What sceptics found of claims, the newest."""
    mine = [one for one in verdicts if one.kind == CHECKED and one.detail["verdict"] in wanted]
    lines = [
        f"{short(one.variant_id or '')} is {checked_in_words(one.detail)}."
        for one in mine[-MAX_CLAIMS_TOLD:]
    ]
    more = len(mine) - len(lines)
    return lines + ([f"{count(more, 'earlier claim')} came out alike; `evo log`."] if more else [])


def _transfers(record: Record, overview: Overview, ladder: LadderReport | None) -> list[str]:
    if overview.imported is not None or len(record.rungs) < 2:
        return ["Not asked: this campaign has one rung."]
    lines = [sentences.graduation(one) for one in overview.findings.graduates]
    if ladder is not None:
        lines += [
            line for title, told in ladder_lines(ladder) if "cost" not in title for line in told
        ]
    return [_tagless(line) for line in dict.fromkeys(lines)] or ["Nobody has gone up so far."]


def _cost(overview: Overview) -> list[str]:
    if overview.imported is not None:
        return ["Nothing here: the numbers were taken over as they were reported."]
    spent = overview.spent
    runs = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in overview.measurements.items())
    busy = f", {share(overview.slot_busy_share)} of it busy" if overview.slots else ""
    lines = [
        f"Runs: {runs or 'none yet'}; {duration(spent.slot_seconds)} of slot time on "
        f"{count(overview.slots, 'slot')}{busy}, {duration(overview.seconds_spent)} from start to end."
    ]
    if spent.tokens_in or spent.tokens_out:
        unknown = (
            f" and {count(spent.price_unknown, 'call')} of unknown price"
            if spent.price_unknown
            else ""
        )
        asked = f"Models: {spent.tokens_in:,} tokens in, {spent.tokens_out:,} out"
        lines.append(f"{asked}, {spent.dollars:.2f} dollars{unknown}.")
    else:
        lines.append("No model was asked.")
    return [*lines, *(rule.line + "." for rule in overview.stop)]


def _next(record: Record, overview: Overview, where: str) -> list[str]:
    if overview.imported is not None:
        return ["Measure it here: `evo run CONFIG --from DIR` begins with the best of it."]
    if overview.calibrates:
        return ["Start a campaign: the noise of the seed is known now."]
    lines = [placed(line, where) for line in sentences.needs(overview.findings, where)]
    if waiting := record.waiting():
        lines.append(f"{count(len(waiting), 'child waits', 'children wait')} for a first run.")
    paying = [one for one in overview.operators if one.certified or one.on_front]
    if paying:
        names = ", ".join(
            f"{plain(one.operator)} ({one.on_front} on the front)" for one in paying[:3]
        )
        lines.append(f"What led somewhere: {names}.")
    return [*lines, *map(_tagless, sentences.against(overview.findings))]


def _go_on(overview: Overview, where: str) -> tuple[str, ...]:
    if overview.imported is not None or overview.calibrates:
        return ()
    if overview.state is CampaignState.WAITING:
        return (f"evo approve{where}", f"evo graduate{where}")
    if overview.state is not CampaignState.COMPLETE:
        return (f"evo resume{where}",)
    ended = next((one for one in overview.stop if one.is_reached), None)
    limit = overview.budget["variants"].limit
    if ended is not None:
        halt = Decision(HALTED, "", {"rule": ended.rule, "limit": ended.limit})
        return (f"evo resume{where} {way_on(halt)}",)
    return (
        (f"evo resume{where} --set budget.variants={max(2 * int(limit), 1)}",)
        if limit is not None
        else ()
    )


def _again(record: Record, overview: Overview) -> list[str]:
    if overview.imported is not None:
        return ["Nothing was run here, so nothing can be run again."]
    hosts = sorted({run.host for run in record.runs() if run.host})
    lines = [
        "The campaign's folder holds all of it: config.yaml as run, train.py (the seed), brief.md, and "
        "campaign.db, from whose rows every figure here is made.",
        f"The seed is {short(record.seed_id)}; random_seed is {record.config.get('random_seed', 0)}; "
        + (
            "exact: true makes the same rows again"
            if record.config.get("exact")
            else "a rerun makes other children"
        )
        + ".",
    ]
    if hosts:
        lines.append(f"Measured on {_foreign(', '.join(hosts))}.")
    if overview.unprotected:
        lines.append(f"{overview.unprotected}.")
    return lines


def _take(overview: Overview, where: str) -> tuple[str, ...]:
    leader = overview.findings.leader_id
    commands = [f"evo report{where}", f"evo report --summary{where}"]
    if leader is not None:
        commands = [
            f"evo show {short(leader)}{where}",
            f"evo diff seed {short(leader)}{where}",
            f"evo export {short(leader)} -o found/{where}",
            *commands,
        ]
    return tuple(commands)
