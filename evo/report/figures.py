"""The figure of progress: every measurement, who was believed best, who was proven, and the noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import Course, Noise, claimed_values
from evo.analysis.ranking import Ranked
from evo.report.page import GOLD, GOOD, NEUTRAL, PALETTE, blank, hover, span
from evo.terminal.text import duration, plus_minus, value
from population.archive import Objective, Standing
from population.metrics import label
from population.statistics import block_means
from population.types import GRADUATING, DecisionRow, MeasurementRow, Purpose, Status

LOOKS = 200  # points of the line of the believed best
BAND = 2.0  # sds of one run


def progress(
    record: Record,
    level: Noise | None,
    verdicts: Sequence[DecisionRow],
    colour: Mapping[str, str],
) -> go.Figure:
    """Score against the number of measurements at the proxy."""
    metric = record.objective.name
    rows = record.at_proxy()
    scored = [(at, row) for at, row in enumerate(rows, 1) if metric in row.measurement.metrics]
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
            if births[row.measurement.request.variant_id].operator == operator
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
    return row.measurement.request.variant_id == record.seed_id


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
    texts = [
        run_in_words(row, metric, births[row.measurement.request.variant_id].idea)
        for _, row in mine
    ]
    return go.Scatter(
        x=[at for at, _ in mine],
        y=[row.measurement.metrics[metric] for _, row in mine],
        mode="markers",
        name=operator,
        marker={"color": hue, "size": 7, "opacity": 0.75},
        text=texts,
        hoverinfo="text",
        customdata=[row.measurement.request.variant_id for _, row in mine],
    )


def run_in_words(row: MeasurementRow, metric: str, idea: str) -> str:
    """A run for a hover label: whose, its score or how it failed, and what it was for."""
    run, request = row.measurement, row.measurement.request
    score = value(metric, run.metrics[metric]) if metric in run.metrics else ""
    said = f"{label(metric)} {score}" if score else f"{run.status}"
    told = f"{request.purpose}, block {request.block}" if score else run.reason
    return hover(f"{request.variant_id[:8]}  {said}", told, idea)


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
                hover(f"{run.request.variant_id[:8]}  {run.status}", run.reason)
                for _, run in failed
            ],
            hoverinfo="text",
            customdata=[run.request.variant_id for _, run in failed],
        )
    )
    figure.update_layout(
        yaxis2={"overlaying": "y", "range": [0, 1.04], "visible": False, "fixedrange": True}
    )


def _believed(figure: go.Figure, record: Record, rows: Sequence[MeasurementRow]) -> None:
    """The estimate of the front's first at the time, seed included, looked at now and then."""
    metric = record.objective.name
    beliefs = record.new_beliefs()
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
    metric, points = record.objective.name, []
    proven = [one for one in verdicts if one.detail.get("verdict") == "certified"]
    if not proven:
        return
    beliefs = record.beliefs()
    for one in proven:
        champion = one.variant_id or ""
        if champion in beliefs:
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
            hover(f"{name}: {one[:8]}", f"{label(metric)} {value(metric, score)}")
            for _, score, one in points
        ],
        hoverinfo="text",
        customdata=[one for _, _, one in points],
    )


# -- The Pareto fronts: one figure for each pair of objectives.


MIN_LOG_SPAN = (
    10  # from the smallest to the largest: on a linear axis most would lie on its first tenth
)
PAIR_HEIGHT = 380  # pixels; two stand beside each other
MEMBER_LOOKS = {
    "": ("measured", NEUTRAL, 6, "circle", 0.4),
    Standing.CANDIDATE: ("front: candidate", "#56B4E9", 10, "circle", 1.0),
    Standing.REPLICATED: ("front: replicated", GOOD, 11, "diamond", 1.0),
    Standing.CERTIFIED: ("front: certified", GOLD, 14, "star", 1.0),
}


def fronts(
    ranked: Sequence[Ranked], objectives: Sequence[Objective], changes: Mapping[str, str]
) -> list[tuple[str, Callable[[], go.Figure]]]:
    """A title and what draws the figure, for each pair; `changes`: what a member did to its parent.

    Pairs of which one side is the same for everyone are left out: they would be a line.
    """
    pairs = [
        pair for pair in combinations(objectives, 2) if all(_varies(ranked, one) for one in pair)
    ]
    return [
        (
            f"{below.name} and {above.name}".replace("_", " "),
            partial(_pair, ranked, above, below, changes),
        )
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
    figure = blank(below.name, above.name, height=PAIR_HEIGHT)
    both = [one for one in ranked if above.name in one.estimates and below.name in one.estimates]
    for standing, look in MEMBER_LOOKS.items():
        mine = [one for one in both if one.standing == standing]
        if mine:
            figure.add_trace(_points(mine, above.name, below.name, look, changes))
    levels = [one.estimates[above.name].mean for one in both]
    sizes = [one.estimates[below.name].mean for one in both]
    if sizes and min(sizes) > 0 and max(sizes) >= MIN_LOG_SPAN * min(sizes):
        figure.update_xaxes(type="log")
    if above.lower_is_better and (shown := span(levels)):
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
    """One error each way; none for what is counted exactly."""
    errors = [one.errors[metric] for one in mine]
    known = [error if math.isfinite(error) else 0.0 for error in errors]
    return {"type": "data", "array": known, "thickness": 1, "width": 3} if any(known) else None


def _label(one: Ranked, above: str, below: str, changes: Mapping[str, str]) -> str:
    second = one.estimates[below]
    return hover(
        f"{one.variant_id[:8]}  {one.standing}  {one.operator}",
        f"{above} {plus_minus(above, *one.told(above))}",
        f"{below} {value(below, second.mean)}",
        one.idea,
        *changes.get(one.variant_id, "").splitlines(),
    )


# -- Does the proxy tell? Everyone who ran at an upper rung, beside what the proxy says of them.


def ladders(record: Record, ranked: Mapping[str, Ranked]) -> list[tuple[str, go.Figure]]:
    """For each upper rung where something was scored: its name and the figure."""
    found = []
    for rung in record.rungs[1:]:
        scores = _scores(record, rung)
        both = [one for one in scores if one in ranked]
        if set(both) - {record.seed_id}:  # the seed alone says nothing of what went up
            found.append((rung, _beside(record, rung, both, scores, ranked)))
    return found


def _scores(record: Record, rung: str) -> dict[str, float]:
    rows = [row for row in record.rows if row.measurement.request.rung == rung]
    name = _claimed_at(record, rung)
    return {
        one: fmean(metrics[name].values())
        for one, metrics in block_means(rows, record.seed_id).items()
        if name in metrics
    }


def _claimed_at(record: Record, rung: str) -> str:
    return claimed_values(record.rows, rung, record.objective.name, GRADUATING)[0]


def _beside(
    record: Record,
    rung: str,
    both: Sequence[str],
    scores: Mapping[str, float],
    ranked: Mapping[str, Ranked],
) -> go.Figure:
    metric, claimed = record.objective.name, _claimed_at(record, rung)
    figure = blank(f"{label(metric)} at {record.proxy}", f"{claimed} at {rung}", height=PAIR_HEIGHT)
    for name, mine, hue, symbol in (
        ("seed", [one for one in both if one == record.seed_id], NEUTRAL, "x"),
        ("went up", [one for one in both if one != record.seed_id], GOLD, "circle"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[ranked[one].estimates[metric].mean for one in mine],
                y=[scores[one] for one in mine],
                error_x={"type": "data", "array": [_error(ranked[one], metric) for one in mine]},
                mode="markers",
                name=name,
                marker={"color": hue, "size": 11, "symbol": symbol},
                text=[
                    _label_ladder(ranked[one], metric, f"{rung}: {claimed}", scores[one])
                    for one in mine
                ],
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


def _error(one: Ranked, metric: str) -> float:
    error = one.errors[metric]
    return error if error == error else 0.0


def _label_ladder(one: Ranked, metric: str, there: str, score: float) -> str:
    return hover(
        f"{one.variant_id[:8]}  {one.operator}",
        f"proxy: {metric} {plus_minus(metric, *one.told(metric))}",
        f"{there} {value(metric, score)}",
        one.idea,
    )


# -- What the campaign spent its slots on, and which operator had how much of the proposals, over time.


WINDOWS = 20  # of the proposals, for shares over time


def slot_time(record: Record, busy_share: float | None) -> go.Figure | None:
    """Slot seconds by what they were for, and idle ones; None without a run."""
    seconds: dict[str, float] = {}
    for row in record.attempts:
        purpose = str(row.measurement.request.purpose)
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


# -- Several campaigns at equal slot time.


def courses(found: Sequence[Course]) -> go.Figure:
    """Gain in percent of each campaign's own seed against the hours its slots had worked."""
    figure = blank("hours of slot time", "better than its seed, %")
    for place, one in enumerate(found):
        hue = PALETTE[place % len(PALETTE)]
        figure.add_trace(
            go.Scatter(
                x=[hours for hours, _ in one.points],
                y=[gain for _, gain in one.points],
                mode="lines",
                line={"color": hue, "shape": "hv", "width": 2},
                name=hover(one.name),
            )
        )
        if one.fresh is not None and one.points:
            gain, low, high = one.fresh
            bars = None
            if low is not None and high is not None:
                bars = {"array": [high - gain], "arrayminus": [gain - low], "color": hue}
            figure.add_trace(
                go.Scatter(
                    x=[one.points[-1][0]],
                    y=[gain],
                    error_y=bars,
                    mode="markers",
                    marker={
                        "color": hue,
                        "size": 11,
                        "symbol": "circle-open",
                        "line": {"width": 2},
                    },
                    name=hover(f"{one.name}, fresh blocks"),
                    showlegend=False,
                )
            )
    return figure
