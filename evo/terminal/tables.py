"""Tables: the front, the operators' earnings, and pairs of name and value."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from evo.analysis.ranking import Earning, Ranked
from evo.terminal.numbers import duration, plus_minus, value
from evo.terminal.text import plain, short, words

FAINT = "bright_black"


def pairs(rows: Sequence[tuple[str, Text | str]]) -> Table:
    """Names and values, aligned."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=FAINT, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), text if isinstance(text, Text) else Text(text))
    return grid


def _table(*columns: tuple[str, str]) -> Table:
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


def ranking_table(rows: Sequence[Ranked], objectives: Sequence[str], seed_id: str) -> Table:
    """Variants with what is believed of them; the sd is of the mean."""
    first, *others = objectives
    table = _table(
        ("variant", "left"),
        (first.replace("_", " "), "left"),
        *((name, "right") for name in others),
        ("standing", "left"),
        ("idea", "left"),
    )
    for one in rows:
        mean = one.estimates[first]
        table.add_row(
            Text(short(one.variant_id), "bold"),
            Text(plus_minus(first, mean.mean, mean.sd, mean.n)),
            *(
                Text(value(name, one.estimates[name].mean if name in one.estimates else None))
                for name in others
            ),
            Text(one.standing, "green"),
            one_line(words("the seed" if one.variant_id == seed_id else one.idea)),
        )
    return table


def earnings_table(rows: Sequence[Earning]) -> Table:
    """What each operator proposed, what came of it and what it cost."""
    table = _table(
        ("operator", "left"),
        ("proposals", "right"),
        ("children", "right"),
        ("beat_a parent", "right"),
        ("on_front", "right"),
        ("slot_time", "right"),
        ("tokens", "right"),
        ("dollars", "right"),
    )
    for one in rows:
        dollars = f"{one.dollars:.2f}" + (" + unknown" if one.price_unknown else "")
        table.add_row(
            Text(plain(one.operator)),
            f"{one.proposals:,}",
            f"{one.children:,}",
            f"{one.better} of {one.measured}",
            f"{one.on_front}",
            duration(one.slot_seconds),
            f"{one.tokens:,}" if one.tokens else "–",
            dollars if one.tokens or one.dollars else "–",
        )
    return table
