"""Tables: the front, the operators' earnings, and pairs of name and value."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evo.analysis.ranking import Earning, Ranked
from evo.terminal.numbers import duration, plus_minus, share, shares_line, value
from evo.terminal.text import plain, short, words
from population.archive import Objective

FAINT = "bright_black"
NOTHING = "–"
MEAN_SE = "± is the standard error of the mean (se)"


def pairs(rows: Sequence[tuple[str, Text | str]]) -> Table:
    """Names and values, aligned."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=FAINT, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), text if isinstance(text, Text) else Text(text))
    return grid


def table_of(*columns: tuple[str, str]) -> Table:
    """A table without lines; a column is its name and the side its cells stand on."""
    table = Table(box=None, header_style=FAINT, pad_edge=False, padding=(0, 2, 0, 0))
    for name, side in columns:
        title = Text(name.replace("_", "\n"), FAINT)
        table.add_column(
            title,
            justify="right" if side == "right" else "left",
            no_wrap=name != "idea",
            vertical="bottom",
        )
    return table


def one_line(text: Text) -> Text:
    """The same text, cut off where its column ends."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def ranking_table(
    rows: Sequence[Ranked], objectives: Sequence[Objective], seed_id: str
) -> RenderableType:
    """Variants with the means of their runs and, on the front, what is believed, which orders it."""
    first, *others = (one.name for one in objectives)
    table = table_of(
        ("variant", "left"),
        (f"{first.replace('_', ' ')}_(mean ± se)", "left"),
        ("believed", "right"),
        *((name, "right") for name in others),
        ("standing", "left"),
        ("idea", "left"),
    )
    for one in rows:
        mean = one.estimates[first]
        table.add_row(
            Text(short(one.variant_id), "bold"),
            Text(plus_minus(first, mean.mean, mean.sd, mean.n)),
            Text(NOTHING if one.believed is None else value(first, one.believed, mean.sd)),
            *(
                Text(value(name, one.estimates[name].mean if name in one.estimates else None))
                for name in others
            ),
            _standing(one, seed_id),
            one_line(words("the seed" if one.variant_id == seed_id else one.idea)),
        )
    return Group(table, Text(caption(objectives[0]), FAINT))


def caption(objective: Objective) -> str:
    """What the numbers of a table of scores are."""
    way = "lower" if objective.direction == "minimise" else "higher"
    return (
        f"{way} is better; {MEAN_SE}, over n blocks (repeats of a block count "
        "once); believed: that mean shrunk to the parent's, by which the "
        "search orders the front"
    )


def _standing(one: Ranked, seed_id: str) -> Text:
    if one.variant_id == seed_id and one.standing:
        return Text(NOTHING, FAINT)  # it is what everyone is held against
    if one.vetoed:
        return Text("vetoed", "red")
    return Text(one.standing, "green") if one.standing else Text("off the front", FAINT)


def earnings_table(rows: Sequence[Earning]) -> Table:
    """What each operator proposed, what came of it and what it cost; columns that say nothing are left out."""
    columns: list[tuple[tuple[str, str], Sequence[str | Text]]] = [
        (("operator", "left"), [Text(plain(one.operator)) for one in rows]),
        (("proposals", "right"), [f"{one.proposals:,}" for one in rows]),
        (("share_in time", "left"), [Text(shares_line(one.shares)) for one in rows]),
        (("valid", "right"), [share(one.valid / max(one.proposals, 1)) for one in rows]),
        (("beat_parent", "right"), [f"{one.better} of {one.measured}" for one in rows]),
        (("on_front", "right"), [f"{one.on_front}" for one in rows]),
        (("certified_gain", "right"), [_gain(one) for one in rows]),
        (("slot_time", "right"), [duration(one.slot_seconds) for one in rows]),
        (("tokens", "right"), [f"{one.tokens:,}" if one.tokens else NOTHING for one in rows]),
        (("dollars", "right"), [_dollars(one) for one in rows]),
    ]
    told = [one for one in columns if any(cell != NOTHING for cell in one[1])]
    table = table_of(*(head for head, _ in told))
    table.padding = (0, 1, 0, 0)
    for cells in zip(*(cells for _, cells in told), strict=True):
        table.add_row(*cells)
    return table


def _gain(one: Earning) -> str:
    return f"{one.certified_gain:.4f}" if one.certified else NOTHING


def _dollars(one: Earning) -> str:
    if one.price_unknown and not one.dollars:
        return "unknown"
    if not one.tokens and not one.dollars:
        return NOTHING
    return f"{one.dollars:.2f}" + (" + unknown" if one.price_unknown else "")
