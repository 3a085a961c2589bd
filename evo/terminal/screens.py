"""The closing screen: what was found, how sure that is, what more would need, and what to type next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from evo.analysis.calibration import CalibrationReport
from evo.analysis.comparison import Comparison, PairVerdict
from evo.analysis.findings import Findings
from evo.analysis.forecast import Forecast
from evo.analysis.ladder_report import LadderReport
from evo.terminal import sentences
from evo.terminal.ladder import ladder_lines
from evo.terminal.tables import FAINT, pairs, ranking_table
from evo.terminal.text import clip, count, duration, megabytes, placed, plain, short, value, words
from population.archive import Objective
from population.statistics.noise import Calibration, Spread

FRONT_SHOWN = 12
MAX_IDEA = 160  # characters of an idea on the way
STYLES = {PairVerdict.BETTER: "green", PairVerdict.WORSE: "red"}


def closing_screen(
    name: str,
    reason: str,
    findings: Findings,
    objectives: Sequence[Objective],
    commands: Sequence[str],
    where: str = "",
    ladder: LadderReport | None = None,
    warning: str = "",
) -> RenderableType:
    """Everything a person wants to know at the end; `where`: " --dir FOLDER" for commands to type.

    climb: what the ladder showed, where somebody went up. warning: what to know of how it ran.
    """
    parts: list[RenderableType] = [
        Text(),
        Rule(Text(plain(name), "bold"), style=FAINT, align="left"),
        words(placed(reason, where), FAINT),
    ]
    parts += [words(warning, "red")] if warning else []
    parts += _section("What was found", [*_lines(sentences.trust(findings)), *_found(findings)])
    sure = [sentences.proven(findings.proof)] if findings.proof is not None else []
    parts += _section("How sure that is", _lines([*sure, *sentences.certainty(findings)]))
    if findings.chain:
        parts += _section("What changed", _way(findings))
    if findings.graduates:
        told = [
            sentences.held(one)
            if one.variant_id == findings.leader_id
            else sentences.graduation(one)
            for one in findings.graduates
        ]
        parts += _section("Whether it held at larger rungs", _greyed(told, findings))
    if against := sentences.against(findings):
        parts += _section("What is worth knowing against it", _lines(against))
    if findings.failures:
        parts += _section("What failed", _lines(sentences.failed(findings.failures)))
    if findings.front:
        shown, more = findings.front[:FRONT_SHOWN], len(findings.front) - FRONT_SHOWN
        body: list[RenderableType] = [ranking_table(shown, objectives, findings.seed_id)]
        if more > 0:
            hint = f"… {more:,} more: `evo top -n {len(findings.front)}{where}` shows all"
            body.append(words(hint, FAINT))
        parts += _section(f"Pareto front at {plain(findings.rung)}", body)
    for title, lines in ladder_lines(_telling(ladder)) if ladder is not None else ():
        parts += _section(title, _lines(lines))
    if not _is_shown(findings):
        parts += _section("What a longer run would need", _lines(sentences.needs(findings, where)))
    parts += _section("Next", [Text(command, "cyan") for command in commands])
    return Group(*parts)


def _is_shown(findings: Findings) -> bool:
    """Whether fresh blocks settled how the leader stands to the seed: more runs would add nothing."""
    settled = (PairVerdict.BETTER, PairVerdict.WORSE)
    return findings.final is not None and findings.final.verdict in settled


def _telling(ladder: LadderReport) -> LadderReport:
    """The same, without a transfer of which nothing can be said: whether the gain held is told above."""
    empty = ladder.transfer is not None and ladder.transfer.promotions is None
    return replace(ladder, transfer=None) if empty else ladder


def _section(title: str, body: Sequence[RenderableType]) -> list[RenderableType]:
    return [Text(), Text(title, "bold"), *(Padding(one, (0, 0, 0, 2)) for one in body)]


def _lines(lines: Sequence[str]) -> list[RenderableType]:
    return [words(line) for line in lines]


def _found(findings: Findings) -> list[RenderableType]:
    """The gain in plain words, and below it in the metric; ids are for looking up, so they are grey."""
    shown: Comparison | None = findings.final
    style = STYLES.get(shown.verdict, "") if shown is not None else ""
    lines = sentences.found(findings)
    if headline := sentences.headline(findings):
        return [words(headline, f"bold {style}".strip()), *_greyed(lines, findings)]
    return [words(line, style if place == 0 else "") for place, line in enumerate(lines)]


def _greyed(lines: Sequence[str], findings: Findings) -> list[RenderableType]:
    ids = [short(one) for one in (findings.leader_id, findings.seed_id) if one]
    shown = [words(line) for line in lines]
    for one in shown:
        one.highlight_words(ids, FAINT)
    return list(shown)


def _way(findings: Findings) -> list[RenderableType]:
    """The edits from the seed to the leader with what each did, and what differs in the end."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for place, step in enumerate(findings.chain, 1):
        made = plain(step.operator)
        if step.other_parents:
            made += f" with {', '.join(map(short, step.other_parents))}"
        if step.effect is not None:
            made += f": {sentences.beside(step.effect)} compared with its parent"
        grid.add_row(Text(f"{place}", FAINT), clip(step.idea, MAX_IDEA) or "no idea stated")
        grid.add_row("", Text(f"{made}  {short(step.variant_id)}", FAINT))
    differs = sentences.knobs(findings.knobs, findings.lines_changed)
    parts: list[RenderableType] = [
        grid,
        Text.assemble(("Differs from the seed in: ", FAINT), differs),
    ]
    if recorded := sentences.recorded(findings.chain):
        parts.append(words(recorded))
    return parts


# -- The forecast in words, before anything runs.


MAX_DATED_SECONDS = 1000 * 365.25 * 86400  # a date beyond it says nothing


def forecast_screen(name: str, where: str, one: Forecast, now: float) -> RenderableType:
    """What is about to happen; `now` in seconds since the epoch."""
    rows: list[tuple[str, Text | str]] = [
        ("folder", plain(where)),
        ("slots", f"{one.slots}"),
        ("seconds a child", _seconds(one)),
        (
            "children an hour",
            "–" if one.children_an_hour is None else f"{one.children_an_hour:.0f}",
        ),
        ("children", _children(one)),
        *(("also ends by", plain(rule.line)) for rule in one.stop),
        *([("certification", _races(one))] if one.race_runs else []),
        *([("fresh rows", fresh_rows(one))] if one.fresh_blocks_held is not None else []),
        ("disk", f"about {megabytes(one.disk_mb)}" if one.disk_mb is not None else "–"),
        ("language model", _model(one)),
        ("expected end", end_in_words(one, now)),
        *(("", Text(plain(warning), "red")) for warning in one.warnings),
    ]
    return Group(Text.assemble((plain(name), "bold"), ("  forecast", FAINT)), pairs(rows))


def _races(one: Forecast) -> str:
    """The runs that proof may take on top; `seconds` leaves them out, for nobody may be worth a race."""
    told = f"up to {one.race_runs} runs more, as races need them"
    races = _race_seconds(one)
    return told if races is None else f"{told}: up to {duration(races)} more"


def _race_seconds(one: Forecast) -> float | None:
    if one.seconds_a_run is None or not one.race_runs:
        return None
    return one.race_runs * one.seconds_a_run / one.slots


def fresh_rows(one: Forecast) -> str:
    """How long hidden rows that nobody was asked before will do, and what comes then."""
    if not one.fresh_blocks_held:
        return "none: pairs are compared on the rows that are always asked; add text"
    held = f"for {count(one.fresh_blocks_held, 'block')}"
    if one.fresh_blocks is None:
        return held
    needed = f"{held}, at most {one.fresh_blocks:,} needed"
    if one.fresh_blocks <= one.fresh_blocks_held:
        return needed
    return f"{needed}: beyond that rows are asked again, and each run says so"


def _seconds(one: Forecast) -> str:
    if one.seconds_a_run is None:
        return "not known before the first run: the clock counts tokens"
    source = (
        "measured in this campaign" if one.measured else "estimated: start-up, training, scoring"
    )
    if one.at_most:
        source = "at most, by the rung's budget: how long one takes shows when the seed has run"
    upper = [f"{plain(name)} {duration(at)}" for name, at in list(one.by_rung.items())[1:]]
    return f"{duration(one.seconds_a_run)} ({source})" + (f"; {', '.join(upper)}" if upper else "")


def _children(one: Forecast) -> str:
    if one.children == 0:
        why = "no more are to come" if one.measured else "only the seed is measured"
        return f"none: {why}; {count(one.runs or 0, 'run')} at most"
    if one.children is None or one.runs is None:
        return "until the language model's budget is spent"
    ends = {"variants": "", "seconds": ", the time limit"}.get(one.ends_by, "")
    return f"{one.children:,}{ends}; {count(one.runs, 'run')} with re-measuring, comparison and graduation"


def _model(one: Forecast) -> str:
    if not one.llm_operators:
        why = plain(one.llm_unavailable) or "every operator works without one"
        return f"none: {why}; 0 tokens, 0 dollars"
    tokens = "no token ceiling" if one.llm_tokens is None else f"at most {one.llm_tokens:,} tokens"
    dollars = (
        "no dollar ceiling" if one.llm_dollars is None else f"at most {one.llm_dollars:.2f} dollars"
    )
    return f"{', '.join(map(plain, one.llm_operators))}: {tokens}, {dollars}"


def end_in_words(one: Forecast, now: float) -> str:
    """When it ends, and what still comes after an approval; `now` in seconds since the epoch."""
    if one.seconds is None:
        return "–"
    told = when_in_words(one.seconds, now)
    if one.at_most:
        told = told.replace("in about ", "at the latest in ", 1)
    if (races := _race_seconds(one)) is not None:
        told += f", or up to {duration(races)} later for certification"
    if one.ladder_seconds is None:
        return told
    climbing = duration(one.ladder_seconds)
    return f"{told}; then it waits for your `evo approve`, and what goes up takes up to {climbing} more"


def when_in_words(seconds: float, now: float) -> str:
    """In how long, and at which time; `now` in seconds since the epoch."""
    return f"in about {duration(seconds)}{_at(now, seconds)}"


def _at(now: float, seconds: float) -> str:
    """When that is: the day from half a day on, the year from half a year on."""
    if seconds > MAX_DATED_SECONDS:
        return ""
    day = "%a %d %b %Y %H:%M" if seconds > 183 * 86400 else "%a %d %b %H:%M"
    day = "%H:%M" if seconds < 12 * 3600 else day
    return f", at {time.strftime(day, time.localtime(now + seconds))}"


# -- Calibration in words a person acts on.


def calibration_lines(
    found: Calibration | CalibrationReport | None, metric: str, certifies: bool
) -> list[str]:
    """The answer of a calibration, a sentence a line."""
    if found is None:
        return ["Too few runs of the seed ended well to say anything of its noise."]
    if isinstance(found, CalibrationReport):
        return ladder_sentences(found, metric)
    return noise_sentences(found, metric, certifies)


def calibrated_line(folder: str, found: Calibration, metric: str) -> str:
    """What a campaign's own calibration was, for its forecast."""
    return f"calibrated in {folder}: {noise_sentences(found, metric)[0]}"


def noise_sentences(found: Calibration, metric: str, certifies: bool = True) -> list[str]:
    """How noisy a run is, what blocks buy, what can be certified, and what greed would make of it.

    certifies: whether the config asks for proof at all; else what its attempts could certify by default.
    """
    across, within = found.across, found.within
    lines = [
        f"One run of the same code varies by {_spread(across, metric)}, {across.freedom + 1} blocks) "
        f"{metric} from block to block and by {_spread(within, metric)}, {within.freedom + 1} runs) on one "
        "block (sd)."
    ]
    share = found.correlation
    if found.repeats_are_equal:
        lines.append(
            "Repeats are equal: the same code on the same block gives the same number. What a changed script "
            "varies by in pairs is not known from the seed, nor is the smallest gain that can be certified."
        )
        return lines
    if share.low > 0:
        lines.append(
            f"Comparing on the same blocks takes away {share.value:.0%} of the variance "
            f"(95 %: {share.low:.0%} to {share.high:.0%})."
        )
    else:
        lines.append(
            "Whether comparing on the same blocks helps is not established by so few runs."
        )
    rule, can = found.rule, "can" if certifies else "could"
    if not certifies:
        lines.append(
            "This config certifies nothing (certification.attempts: 0); what follows holds with "
            f"attempts: {rule.attempts}."
        )
    if found.smallest is None or found.smallest_range is None:
        lines.append(
            f"With {rule.most_pairs} pairs and {rule.attempts} attempts no gain {can} be certified: "
            "impossible at this n."
        )
    else:
        low, high = (value(metric, end, across.sd) for end in found.smallest_range)
        gain = value(metric, found.smallest.gain, across.sd)
        lines.append(
            f"The smallest gain it {can} certify four times out of five is {gain} {metric} "
            f"({low} to {high}, since so few runs know the sd no better), at about "
            f"{found.smallest.pairs:.0f} pairs of runs (at most "
            f"{rule.most_pairs}; alpha {rule.alpha:g} over {rule.attempts} attempts). Smaller "
            "gains may be real; they will not be proven. A changed script can be noisier than the seed, and "
            "takes more pairs then."
        )
    lines.append(
        f"A loop that keeps whatever scored better once would keep {found.greedy.keeps:.1f} of "
        f"{found.greedy.children} children that are no better than the seed, and claim a gain of "
        f"{found.greedy.claimed_gain:.4f}."
    )
    return lines


def _spread(one: Spread, metric: str) -> str:
    """An sd with its interval, the bracket left open for its n."""
    low, sd, high = (value(metric, number, one.sd) for number in (one.low, one.sd, one.high))
    return f"{sd} (95 %: {low} to {high}"


def ladder_sentences(found: CalibrationReport, metric: str) -> list[str]:
    """Which rungs give a parameter as much text as the proxy does."""
    lines = [
        f"{place.rung}: depth {place.depth}, budget {place.budget:g}: {metric} {place.val_bpb:.4f}, "
        f"{place.parameters:,.0f} parameters, {place.tokens_per_parameter:.1f} tokens a parameter, "
        f"{place.epochs:.2f} epochs"
        for place in found.places
    ]
    lines += [
        f"For a rung of depth {depth}, give it a budget of about {budget:.3g}: as many tokens a parameter "
        "as at the proxy (within a factor of 2)."
        for depth, budget in found.proposed
    ]
    if found.wants_smaller:
        lines.append(
            "At the proxy's budget a shallower seed scores better: the seed merely wants to be smaller. "
            "Raise the budget or lower the depth, or the search will find that first."
        )
    return lines
