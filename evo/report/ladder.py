"""Does the proxy tell? Everyone who ran at an upper rung, beside what the proxy says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import plotly.graph_objects as go

from evo.analysis.ranking import Ranked
from evo.analysis.record import Record
from evo.report.drawing import GOLD, NEUTRAL, blank, hover
from evo.terminal.numbers import plus_minus, value
from population.statistics import block_means


def ladders(record: Record, ranked: Mapping[str, Ranked]) -> list[tuple[str, go.Figure]]:
    """For each upper rung where something was scored: its name and the figure."""
    found = []
    for rung in record.rungs[1:]:
        scores = _scores(record, rung)
        both = [one for one in scores if one in ranked]
        if both:
            found.append((rung, _beside(record, rung, both, scores, ranked)))
    return found


def _scores(record: Record, rung: str) -> dict[str, float]:
    rows = [row for row in record.rows if row.measurement.order.rung == rung]
    name = record.objective.name
    return {
        one: fmean(metrics[name].values())
        for one, metrics in block_means(rows, record.seed_id).items()
        if name in metrics
    }


def _beside(
    record: Record,
    rung: str,
    both: Sequence[str],
    scores: Mapping[str, float],
    ranked: Mapping[str, Ranked],
) -> go.Figure:
    metric = record.objective.name
    figure = blank(f"{metric} at {record.proxy}", f"{metric} at {rung}", height=380)
    for name, mine, hue, symbol in (
        ("seed", [one for one in both if one == record.seed_id], NEUTRAL, "x"),
        ("went up", [one for one in both if one != record.seed_id], GOLD, "circle"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[ranked[one].estimates[metric].mean for one in mine],
                y=[scores[one] for one in mine],
                error_x={"type": "data", "array": [_sd(ranked[one], metric) for one in mine]},
                mode="markers",
                name=name,
                marker={"color": hue, "size": 11, "symbol": symbol},
                text=[_label(ranked[one], metric, rung, scores[one]) for one in mine],
                hoverinfo="text",
                customdata=list(mine),
            )
        )
    seed = ranked.get(record.seed_id)
    if seed is not None and record.seed_id in scores:
        faint = {"color": NEUTRAL, "width": 1, "dash": "dot"}
        figure.add_vline(x=seed.estimates[metric].mean, line=faint)
        figure.add_hline(y=scores[record.seed_id], line=faint)
    return figure


def _sd(one: Ranked, metric: str) -> float:
    sd = one.estimates[metric].sd
    return sd if sd == sd else 0.0


def _label(one: Ranked, metric: str, rung: str, score: float) -> str:
    found = one.estimates[metric]
    return hover(
        f"{one.variant_id[:8]}  {one.operator}",
        f"proxy: {metric} {plus_minus(metric, found.mean, found.sd, found.n)}",
        f"{rung}: {metric} {value(metric, score)}",
        one.idea,
    )
