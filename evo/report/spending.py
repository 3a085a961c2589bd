"""What the campaign spent its slots on, and which operator had how much of the proposals, over time."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from evo.analysis.record import Record
from evo.report.drawing import NEUTRAL, PALETTE, blank, hover
from evo.terminal.numbers import duration
from population.variant import Purpose

WINDOWS = 20  # of the proposals, for shares over time


def slot_time(record: Record, busy_share: float | None) -> go.Figure | None:
    """Slot seconds by what they were for, and idle ones; None without a run."""
    seconds: dict[str, float] = {}
    for row in record.attempts:
        purpose = str(row.measurement.order.purpose)
        seconds[purpose] = seconds.get(purpose, 0.0) + row.measurement.wall_seconds
    if not seconds:
        return None
    parts: dict[str, float] = {
        str(one): seconds[str(one)] for one in Purpose if str(one) in seconds
    }
    if busy_share:
        parts["idle"] = sum(seconds.values()) * (1 / busy_share - 1)
    figure = blank("minutes of slot time", "", height=170)
    for place, (name, spent) in enumerate(parts.items()):
        figure.add_trace(
            go.Bar(
                x=[spent / 60],
                y=[""],
                orientation="h",
                name=name,
                marker={"color": NEUTRAL if name == "idle" else PALETTE[place % len(PALETTE)]},
                text=hover(f"{name}: {duration(spent)}"),
                hoverinfo="text",
                textposition="none",
            )
        )
    figure.update_layout(barmode="stack", bargap=0.3)
    return figure


def operator_shares(record: Record, colour: Mapping[str, str]) -> go.Figure | None:
    """Each operator's share of the proposals, window by window; None for too few to say."""
    made = [one for one in record.proposals if one.parents]
    size = max(5, len(made) // WINDOWS)
    if len(made) < 2 * size:
        return None
    windows = [made[at : at + size] for at in range(0, len(made) - size + 1, size)]
    figure = blank("proposal", "share of the proposals", height=300)
    for operator, hue in colour.items():
        shares = [sum(one.operator == operator for one in part) / len(part) for part in windows]
        if any(shares):
            figure.add_trace(
                go.Scatter(
                    x=[part[-1].number for part in windows],
                    y=shares,
                    mode="lines",
                    name=operator,
                    stackgroup="shares",
                    line={"color": hue, "width": 0.5},
                    hoverinfo="x+y+name",
                )
            )
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    return figure
