"""How noisy it was: the seed against itself, drift, what did not count, what early stopping would have done."""

from __future__ import annotations

from statistics import fmean

import plotly.graph_objects as go

from evo.report.page import NEUTRAL, PALETTE, Figure, ReportData, ReportTable, Section, blank, hover
from evo.terminal import sentences
from evo.terminal.text import value
from population.metrics import label
from population.types import DERIVED, SEED_ALONE, Purpose

MIN_RUNS = 5  # fewer show nothing of drift


def noise_section(data: ReportData) -> Section | None:
    """What a difference has to stand out from, and whether the machine stayed itself."""
    metric, one = data.findings.objective, data.overview
    rows = _seed_runs(data)
    if not rows:
        return None
    table = ReportTable(
        ("runs of the seed", "rung", "n", f"mean {label(metric)}", "lowest to highest"), rows
    )
    lines = sentences.needs(data.findings)
    if early := sentences.early(one.early_stopping):
        lines.append(f"Early stopping: {early}.")
    if told := sentences.tolerated(one.tolerances):
        lines.append(f"Audit: {told}.")
    if one.voided:
        lines.append(f"Voided: {sentences.voided(one.voided)}.")
    lines += [f"Drift: {sentences.drift(metric, host)}." for host in one.drift]
    chart = _chart(data)
    about = "The seed on one block, again and again: what moves here is the machine, not the code."
    figures = (Figure.drawn("drift", chart, about),) if chart is not None else ()
    return Section("noise", "Noise", lines, figures, (table,))


def _seed_runs(data: ReportData) -> list[tuple[str, ...]]:
    metric = data.findings.objective
    rows: list[tuple[str, ...]] = []
    for purpose in SEED_ALONE:
        runs = [
            row.measurement
            for row in data.record.rows
            if row.measurement.request.variant_id == data.record.seed_id
            and row.measurement.request.purpose is purpose
            and metric in row.measurement.metrics
            and DERIVED not in row.measurement.request.rung
        ]
        for rung in dict.fromkeys(run.request.rung for run in runs):
            scores = [run.metrics[metric] for run in runs if run.request.rung == rung]
            mean = value(metric, fmean(scores))
            ends = f"{value(metric, min(scores))} to {value(metric, max(scores))}"
            rows.append((purpose.value, rung, str(len(scores)), mean, ends))
    return rows


def _chart(data: ReportData) -> go.Figure | None:
    """The seed's runs on block 0 of the proxy by time, calibration and references; None below five."""
    metric, record = data.findings.objective, data.record
    runs = [
        run
        for run in record.runs()
        if run.request.variant_id == record.seed_id
        and run.request.rung == record.proxy
        and run.request.block == 0
        and metric in run.metrics
    ]
    if len(runs) < MIN_RUNS:
        return None
    began = runs[0].started_at
    figure = blank("minutes", metric, height=260)
    for purpose, hue in ((Purpose.CALIBRATE, NEUTRAL), (Purpose.REFERENCE, PALETTE[0])):
        mine = [run for run in runs if run.request.purpose is purpose]
        figure.add_trace(
            go.Scatter(
                x=[(run.started_at - began) / 60 for run in mine],
                y=[run.metrics[metric] for run in mine],
                mode="markers",
                name=purpose.value,
                marker={"color": hue, "size": 9},
                text=[
                    hover(f"{metric} {value(metric, run.metrics[metric])}", run.host)
                    for run in mine
                ],
                hoverinfo="text",
            )
        )
    for host in data.overview.drift[:1]:
        faint = {"color": NEUTRAL, "width": 1, "dash": "dot"}
        figure.add_hline(y=host.low, line=faint)
        figure.add_hline(y=host.high, line=faint)
    return figure
