"""The figure of progress: every measurement, who was believed best, who was proven, and the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from evo.analysis.comparison import Noise
from evo.analysis.record import Record
from evo.report.drawing import GOLD, GOOD, NEUTRAL, blank, hover, span
from evo.terminal.numbers import value
from population.archive import Constraint
from population.beliefs import RungBeliefs
from population.records import DecisionRow, MeasurementRow
from population.variant import Status

LOOKS = 200  # points of the line of the believed best
BAND = 2.0  # sds of one run


def progress(
    record: Record,
    level: Noise | None,
    verdicts: Sequence[DecisionRow],
    colour: Mapping[str, str],
) -> go.Figure | None:
    """Score against the number of measurements; None before anything has a score."""
    metric = record.objective.name
    rows = [row for row in record.rows if row.measurement.order.rung == record.proxy]
    scored = [(at, row) for at, row in enumerate(rows, 1) if metric in row.measurement.metrics]
    if not scored:
        return None
    here = record.imported is None
    figure = blank("measurements at the proxy" if here else "runs as reported", metric)
    seeds = [r.measurement.metrics[metric] for _, r in scored if _is_seed(r, record)]
    if level is not None and seeds:
        _band(figure, sum(seeds) / len(seeds), level.sd, len(rows))
    births = record.births()
    for operator, hue in colour.items():
        mine = [
            (at, row)
            for at, row in scored
            if births[row.measurement.order.variant_id].operator == operator
        ]
        if mine:
            figure.add_trace(_dots(operator, hue, mine, metric, record))
    _failures(figure, rows)
    _believed(figure, record, rows)
    _certified(figure, record, rows, verdicts)
    shown = span([row.measurement.metrics[metric] for _, row in scored])
    if shown is not None:
        figure.update_yaxes(range=shown)
    return figure


def _is_seed(row: MeasurementRow, record: Record) -> bool:
    return row.measurement.order.variant_id == record.seed_id


def _band(figure: go.Figure, mean: float, sd: float, as_of: int) -> None:
    low, high = mean - BAND * sd, mean + BAND * sd
    figure.add_trace(
        go.Scatter(
            x=[0, as_of + 1, as_of + 1, 0],
            y=[low, low, high, high],
            fill="toself",
            fillcolor="rgba(138,143,152,0.16)",
            line={"width": 0},
            mode="lines",
            name=f"seed ± {BAND:g} sd of one run",
            hoverinfo="skip",
        )
    )


def _dots(
    operator: str, hue: str, mine: Sequence[tuple[int, MeasurementRow]], metric: str, record: Record
) -> go.Scatter:
    births = record.births()
    texts = []
    for _, row in mine:
        order = row.measurement.order
        score = value(metric, row.measurement.metrics[metric])
        head = f"{order.variant_id[:8]}  {metric} {score}"
        texts.append(
            hover(head, f"{order.purpose}, block {order.block}", births[order.variant_id].idea)
        )
    return go.Scatter(
        x=[at for at, _ in mine],
        y=[row.measurement.metrics[metric] for _, row in mine],
        mode="markers",
        name=operator,
        marker={"color": hue, "size": 7, "opacity": 0.75},
        text=texts,
        hoverinfo="text",
        customdata=[row.measurement.order.variant_id for _, row in mine],
    )


def _failures(figure: go.Figure, rows: Sequence[MeasurementRow]) -> None:
    failed = [
        (at, row.measurement)
        for at, row in enumerate(rows, 1)
        if row.measurement.status is not Status.OK
    ]
    if not failed:
        return
    figure.add_trace(
        go.Scatter(
            x=[at for at, _ in failed],
            y=[1.0] * len(failed),
            yaxis="y2",
            mode="markers",
            name="no score",
            marker={"symbol": "x-thin", "size": 8, "line": {"width": 1.5, "color": NEUTRAL}},
            text=[
                hover(f"{run.order.variant_id[:8]}  {run.status}", run.reason) for _, run in failed
            ],
            hoverinfo="text",
            customdata=[run.order.variant_id for _, run in failed],
        )
    )
    figure.update_layout(
        yaxis2={"overlaying": "y", "range": [0, 1.04], "visible": False, "fixedrange": True}
    )


def _believed(figure: go.Figure, record: Record, rows: Sequence[MeasurementRow]) -> None:
    """The estimate of whoever led the front at the time, seed included, looked at now and then."""
    metric = record.objective.name
    constraints = [Constraint.model_validate(one) for one in record.config.get("constraints", ())]
    beliefs = RungBeliefs(record.seed_id, record.objectives, constraints)
    every = max(1, len(rows) // LOOKS)
    points: list[tuple[int, float, str]] = []
    for at, row in enumerate(rows, 1):
        beliefs.add(row)
        if (at % every and at != len(rows)) or not (front := beliefs.front()):
            continue
        points.append((at, beliefs.found(front[0])[metric].mean, front[0]))
    if points:
        figure.add_trace(
            _line(
                "best believed", points, NEUTRAL, {"width": 2, "shape": "hv", "dash": "dot"}, metric
            )
        )


def _certified(
    figure: go.Figure,
    record: Record,
    rows: Sequence[MeasurementRow],
    verdicts: Sequence[DecisionRow],
) -> None:
    """The champion's level from the decision on that proved it; the level as it is known now."""
    metric = record.objective.name
    beliefs = RungBeliefs(record.seed_id, record.objectives, ())
    for row in rows:
        beliefs.add(row)
    points = []
    for one in verdicts:
        champion = one.variant_id or ""
        if one.detail.get("verdict") == "certified" and champion in beliefs:
            ends = (r.measurement.started_at + r.measurement.wall_seconds for r in rows)
            at = sum(end <= one.created_at for end in ends)
            points.append((at, beliefs.found(champion)[metric].mean, champion))
    if points:
        points.append((len(rows), *points[-1][1:]))
        figure.add_trace(
            _line("certified champion", points, GOLD, {"width": 3, "shape": "hv"}, metric)
        )


def _line(
    name: str,
    points: Sequence[tuple[int, float, str]],
    hue: str,
    line: Mapping[str, Any],
    metric: str,
) -> go.Scatter:
    return go.Scatter(
        x=[at for at, _, _ in points],
        y=[score for _, score, _ in points],
        mode="lines",
        name=name,
        line={"color": GOOD if hue == NEUTRAL else hue, **line},
        text=[
            hover(f"{name}: {one[:8]}", f"{metric} {value(metric, score)}")
            for _, score, one in points
        ],
        hoverinfo="text",
        customdata=[one for _, _, one in points],
    )
