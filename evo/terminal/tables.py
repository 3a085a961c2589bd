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
        wide = name == "idea"
        table.add_column(
            name,
            justify="right" if side == "right" else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if wide else None,
            min_width=10 if wide else None,
        )
    return table


def ranking_table(rows: Sequence[Ranked], objectives: Sequence[str], seed_id: str) -> Table:
    """Variants with what is believed of them; the sd is of the mean."""
    first, *others = objectives
    table = _table(
        ("variant", "left"),
        ("standing", "left"),
        (first, "left"),
        *((name, "right") for name in others),
        ("operator", "left"),
        ("idea", "left"),
    )
    for one in rows:
        mean = one.estimates[first]
        is_seed = one.variant_id == seed_id
        table.add_row(
            Text(short(one.variant_id), "bold"),
            Text(one.standing or "off the front", "" if one.standing else FAINT),
            Text(plus_minus(first, mean.mean, mean.sd, mean.n)),
            *(
                Text(value(name, one.estimates[name].mean if name in one.estimates else None))
                for name in others
            ),
            Text("" if is_seed else plain(one.operator), FAINT),
            words("the seed" if is_seed else one.idea),
        )
    return table


def earnings_table(rows: Sequence[Earning]) -> Table:
    """What each operator proposed, what came of it and what it cost."""
    table = _table(
        ("operator", "left"),
        ("proposals", "right"),
        ("children", "right"),
        ("beat a parent", "right"),
        ("on front", "right"),
        ("slot time", "right"),
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
