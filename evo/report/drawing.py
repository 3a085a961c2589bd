"""How every figure looks: plotly figures without colours of their own, so that the page themes them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

# Okabe and Ito 2008: told apart by everyone, on light and on dark
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#7F7F7F")
NEUTRAL = "#8A8F98"
GOOD = "#1A9850"
GOLD = "#D9A300"
HOVER_CHARACTERS = 160
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in order; the seed is neutral."""
    wanted = [name for name in dict.fromkeys(names) if name != "seed"]
    found = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(wanted)}
    return {"seed": NEUTRAL, **found}


def blank(x_title: str, y_title: str, height: int = 420) -> go.Figure:
    """A figure without traces: axes named, no background, room for a legend above."""
    figure = go.Figure()
    figure.update_layout(
        template=None,
        height=height,
        margin={"l": 64, "r": 16, "t": 40, "b": 52},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13},
        hovermode="closest",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0, "xanchor": "left"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": NEUTRAL, "activecolor": PALETTE[0]},
        xaxis={"title": {"text": x_title}, "zeroline": False, "automargin": True},
        yaxis={"title": {"text": y_title}, "zeroline": False, "automargin": True},
    )
    return figure


def hover(*lines: str) -> str:
    """Foreign text for a hover label: plotly reads a little HTML there, so all of it is escaped."""
    return "<br>".join(html.escape(_clipped(line)) for line in lines if line)


def span(values: Sequence[float], share: float = 0.9, room: float = 0.1) -> list[float] | None:
    """An axis range that shows at least `share` of the values from the lowest on; None to leave it.

    One child that learned nothing would else press all others into a line.
    """
    if len(values) < 5:
        return None
    ordered = sorted(values)
    low, high = ordered[0], ordered[int(share * (len(ordered) - 1))]
    if high <= low:
        return None
    return [low - room * (high - low), high + 2 * room * (high - low)]


def _clipped(line: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    return text if len(text) <= HOVER_CHARACTERS else text[: HOVER_CHARACTERS - 1] + "…"
