"""The ladder on one screen: how far everyone got, what held at the target, how long, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evo.analysis.climb import Climb
from evo.analysis.comparison import Comparison, PairVerdict
from evo.analysis.ladder import LadderState, LadderStep
from evo.terminal import transferring
from evo.terminal.numbers import better
from evo.terminal.tables import FAINT
from evo.terminal.text import plain, short, words

STYLES = {PairVerdict.BETTER: "green", PairVerdict.WORSE: "red"}


def ladder_screen(one: Climb, where: str = "") -> RenderableType:
    """Everything about the ladder; `where`: " --dir FOLDER" for commands to type."""
    rungs = " → ".join(map(plain, one.rungs))
    parts: list[RenderableType] = [Text.assemble(("Ladder  ", "bold"), rungs)]
    if not one.steps:
        return Group(*parts, Text("Nobody has been chosen to go up yet."))
    parts += [Text(), _table(one.steps, one.metric)]
    for title, lines in report(one):
        parts += [Text(), Text(title, "bold")]
        parts += [Padding(words(line), (0, 0, 0, 2)) for line in lines]
    if any(step.state is LadderState.WAITS for step in one.steps):
        parts += [Text(), Text.assemble(("next  ", FAINT), (f"evo approve{where}", "cyan"))]
    return Group(*parts)


def report(one: Climb) -> list[tuple[str, list[str]]]:
    """The report's sections with their lines; none without something to say."""
    sections: list[tuple[str, list[str]]] = []
    if one.transfer is not None:
        sections.append(("Does it transfer?", transferring.transferred(one.transfer, one.metric)))
        told = transferring.edits(one.transfer.edits, one.metric)
        sections.append(("Which edits", told))
    if one.reaching is not None:
        sections.append(("Time to reach the seed", transferring.reached(one.reaching)))
    sections.append(("What it cost", transferring.costs(one.cost)))
    return [(title, lines) for title, lines in sections if lines]


def _table(steps: Sequence[LadderStep], metric: str) -> Table:
    table = Table(box=None, header_style=FAINT, pad_edge=False, padding=(0, 2, 0, 0))
    name = metric.replace("_", " ")
    for title in ("variant", "to", "as", "how far", f"{name} below", f"{name} there", "size"):
        table.add_column(title, no_wrap=title != "how far", overflow="fold")
    for one in steps:
        state = f"{one.state}: {one.reason}" if one.reason else one.state.value
        table.add_row(
            Text(short(one.variant_id), "bold"),
            plain(one.rung),
            one.role.value,
            words(state),
            _beside(one.below),
            _beside(one.here),
            "" if one.scale is None else f"x {one.scale:.2f}",
        )
    return table


def _beside(one: Comparison | None) -> Text:
    """The difference to the seed with its n; coloured only where its interval leaves 0 out."""
    if one is None:
        return Text("–", FAINT)
    told = better(one.metric, one.gain, one.se)
    return Text.assemble((told, STYLES.get(one.verdict, "")), (f"\nn={one.n}", FAINT))
