"""The Pareto fronts: one figure for each pair of objectives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import plotly.graph_objects as go

from evo.analysis.ranking import Ranked
from evo.report.drawing import GOLD, GOOD, NEUTRAL, blank, hover, span
from evo.terminal.numbers import plus_minus, value
from population.archive import Objective, Standing

MEMBER_LOOKS = {
    "": ("measured", NEUTRAL, 6, "circle", 0.4),
    Standing.CANDIDATE: ("front: candidate", "#56B4E9", 10, "circle", 1.0),
    Standing.REPLICATED: ("front: replicated", GOOD, 11, "diamond", 1.0),
    Standing.CERTIFIED: ("front: certified", GOLD, 14, "star", 1.0),
}


def fronts(
    ranked: Sequence[Ranked], objectives: Sequence[Objective], changes: Mapping[str, str]
) -> list[tuple[str, go.Figure]]:
    """A title and a figure for each pair; `changes`: what a member did to its parent, in few lines.

    Pairs of which one side is the same for everyone are left out: they would be a line.
    """
    pairs = [
        pair for pair in combinations(objectives, 2) if all(_varies(ranked, one) for one in pair)
    ]
    return [
        (f"{below.name} and {above.name}".replace("_", " "), _pair(ranked, above, below, changes))
        for above, below in pairs
    ]


def _varies(ranked: Sequence[Ranked], objective: Objective) -> bool:
    found = {
        one.estimates[objective.name].mean for one in ranked if objective.name in one.estimates
    }
    return len(found) > 1


def _pair(
    ranked: Sequence[Ranked], above: Objective, below: Objective, changes: Mapping[str, str]
) -> go.Figure:
    figure = blank(below.name, above.name, height=380)
    both = [one for one in ranked if above.name in one.estimates and below.name in one.estimates]
    for standing, look in MEMBER_LOOKS.items():
        mine = [one for one in both if one.standing == standing]
        if mine:
            figure.add_trace(_points(mine, above.name, below.name, look, changes))
    levels = [one.estimates[above.name].mean for one in both]
    if above.direction == "minimise" and (shown := span(levels)):
        figure.update_yaxes(range=shown)
    return figure


def _points(
    mine: Sequence[Ranked],
    above: str,
    below: str,
    look: tuple[str, str, int, str, float],
    changes: Mapping[str, str],
) -> go.Scatter:
    name, hue, size, symbol, opacity = look
    on_front = bool(mine[0].standing)
    return go.Scatter(
        x=[one.estimates[below].mean for one in mine],
        y=[one.estimates[above].mean for one in mine],
        error_x=_bars(mine, below) if on_front else None,
        error_y=_bars(mine, above) if on_front else None,
        mode="markers",
        name=name,
        marker={"color": hue, "size": size, "symbol": symbol, "opacity": opacity},
        text=[_label(one, above, below, changes) for one in mine],
        hoverinfo="text",
        customdata=[one.variant_id for one in mine],
    )


def _bars(mine: Sequence[Ranked], metric: str) -> dict[str, Any] | None:
    """One sd of the mean each way; none for what is counted exactly."""
    sds = [one.estimates[metric].sd for one in mine]
    known = [sd if math.isfinite(sd) else 0.0 for sd in sds]
    return {"type": "data", "array": known, "thickness": 1, "width": 3} if any(known) else None


def _label(one: Ranked, above: str, below: str, changes: Mapping[str, str]) -> str:
    first, second = one.estimates[above], one.estimates[below]
    return hover(
        f"{one.variant_id[:8]}  {one.standing}  {one.operator}",
        f"{above} {plus_minus(above, first.mean, first.sd, first.n)}",
        f"{below} {value(below, second.mean)}",
        one.idea,
        *changes.get(one.variant_id, "").splitlines(),
    )
