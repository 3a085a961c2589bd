"""The closing screen: what was found, how sure that is, what more would need, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from evo.analysis.climb import Climb
from evo.analysis.comparison import Comparison, PairVerdict
from evo.analysis.findings import Findings
from evo.terminal import sentences
from evo.terminal.ladder import report as ladder_report
from evo.terminal.tables import FAINT, ranking_table
from evo.terminal.text import placed, plain, short, words
from population.archive import Objective

FRONT_SHOWN = 12
STYLES = {PairVerdict.BETTER: "green", PairVerdict.WORSE: "red"}


def closing_screen(
    name: str,
    reason: str,
    findings: Findings,
    objectives: Sequence[Objective],
    commands: Sequence[str],
    where: str = "",
    climb: Climb | None = None,
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
    parts += _section("What was found", [_coloured(findings), *_way(findings)])
    parts += _section("How sure that is", _lines(sentences.certainty(findings)))
    if findings.front:
        shown, more = findings.front[:FRONT_SHOWN], len(findings.front) - FRONT_SHOWN
        body: list[RenderableType] = [ranking_table(shown, objectives, findings.seed_id)]
        if more > 0:
            hint = f"… {more:,} more: `evo top -n {len(findings.front)}{where}` shows all"
            body.append(words(hint, FAINT))
        parts += _section(f"Pareto front at {plain(findings.rung)}", body)
    if findings.graduates:
        told = [sentences.graduation(one) for one in findings.graduates]
        parts += _section("Up the ladder", _lines(told))
    for title, lines in ladder_report(climb) if climb is not None else ():
        parts += _section(title, _lines(lines))
    parts += _section("What a longer run would need", _lines(sentences.needs(findings, where)))
    if findings.failures:
        parts += _section("What failed", _lines(sentences.failed(findings.failures)))
    parts += _section("Next", [Text(command, "cyan") for command in commands])
    return Group(*parts)


def _section(title: str, body: Sequence[RenderableType]) -> list[RenderableType]:
    return [Text(), Text(title, "bold"), *(Padding(one, (0, 0, 0, 2)) for one in body)]


def _lines(lines: Sequence[str]) -> list[RenderableType]:
    return [words(line) for line in lines]


def _coloured(findings: Findings) -> RenderableType:
    lines = sentences.found(findings)
    shown: Comparison | None = findings.final
    style = STYLES.get(shown.verdict, "") if shown is not None else ""
    return Group(*(words(line, style if place == 0 else "") for place, line in enumerate(lines)))


def _way(findings: Findings) -> list[RenderableType]:
    """The steps from the seed to the leader, and what differs in the end."""
    if not findings.chain:
        return []
    grid = Table.grid(padding=(0, 2))
    for wide in (False, False, False, True):
        grid.add_column(no_wrap=not wide, overflow="fold")
    for place, step in enumerate(findings.chain, 1):
        idea = plain(step.idea)
        if step.other_parents:
            idea += f" (with {', '.join(map(short, step.other_parents))})"
        grid.add_row(
            Text(f"{place}", FAINT),
            Text(short(step.variant_id), "bold"),
            Text(plain(step.operator), FAINT),
            Text(idea),
        )
    differs = sentences.knobs(findings.knobs, findings.lines_changed)
    return [
        Text("The way from the seed:", FAINT),
        grid,
        Text.assemble(("Differs from the seed in: ", FAINT), differs),
    ]
