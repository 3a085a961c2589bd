"""The benchmark's page: both tables, anytime curves, and how optimistic everyone's report is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from evo.benchmark.comparison import ContestantStanding, curves
from evo.benchmark.summary import Summary, columns, compared, cpu_time, legend, row
from evo.report.page import NEUTRAL, Figure, Page, ReportTable, Section, blank, colours
from evo.report.variant_details import Pack

HEADS = {"raced": "With the same race", "published": "As published"}


def page_of(summary: Summary, config_text: str) -> Page:
    """The page; `config_text` is shown as it is."""
    hue = colours(one.contestant for one in summary.raced)
    first, landscapes = summary.raced[0], summary.config.landscapes
    cpu = sum(one.cpu_seconds for one in summary.results)
    return Page(
        title="evo bench",
        subtitle=", ".join(landscapes),
        headline=summary.headline,
        lines=legend(summary),
        merits=(
            ("First", first.contestant, f"IQM {100 * first.regret.value:.1f} %"),
            ("Cells", f"{len(summary.results):,}", cpu_time(cpu)),
        ),
        sections=[
            *(_standings(summary, *one, hue) for one in summary.tables),
            Section(
                "anytime",
                "Anytime",
                ("Of what each would recommend at that moment, before any race but ours.",),
                [_anytime(summary, one, hue) for one in landscapes],
            ),
            Section("config", "The config as run", texts={"show": config_text}),
        ],
        pack=Pack((), ()),
    )


def _standings(
    summary: Summary,
    name: str,
    title: str,
    table: Sequence[ContestantStanding],
    hue: dict[str, str],
) -> Section:
    figures = [_regrets(table, hue, f"{name}-regret")]
    if name == "published":
        figures.append(_optimism(summary, hue))
    claim = " Superiority is claimed from this table alone." if name == "raced" else ""
    shown = (_table(table, summary),)
    return Section(name, HEADS[name], (f"{title}.{claim}",), figures, shown)


def _table(standings: Sequence[ContestantStanding], summary: Summary) -> ReportTable:
    landscapes, asked = summary.config.landscapes, summary.asked
    return ReportTable(
        columns(landscapes, asked, compared(summary.config)),
        [row(one, landscapes, asked) for one in standings],
    )


def _regrets(standings: Sequence[ContestantStanding], hue: dict[str, str], name: str) -> Figure:
    figure = blank("interquartile mean of true regret, %", "")
    for one in reversed(standings):
        figure.add_trace(_bar(one.contestant, one.regret, 100.0, hue))
    figure.update_layout(showlegend=False)
    if all(one.regret.low > 0 for one in standings):  # the worst would press all others into a line
        figure.update_xaxes(type="log")
    about = "True regret over all landscapes with 95 % intervals; further left is better."
    return Figure.drawn(name, figure, about)


def _optimism(summary: Summary, hue: dict[str, str]) -> Figure:
    figure = blank("what is only reported", "")
    for one in reversed(summary.published):
        figure.add_trace(_bar(one.contestant, one.optimism, 1.0, hue))
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_layout(showlegend=False)
    about = "How much better each report looks than what it reports; 0 is honest."
    return Figure.drawn("optimism", figure, about, "Optimism")


def _bar(name: str, bounds: object, factor: float, hue: dict[str, str]) -> go.Scatter:
    value, low, high = (factor * getattr(bounds, one) for one in ("value", "low", "high"))
    return go.Scatter(
        x=[value],
        y=[name],
        error_x={"type": "data", "array": [high - value], "arrayminus": [value - low]},
        mode="markers",
        marker={"color": hue[name], "size": 10},
        name=name,
    )


def _anytime(summary: Summary, landscape: str, hue: dict[str, str]) -> Figure:
    figure = blank("share of the training seconds", "true regret")
    for name, (median, low, high) in curves(summary.results, landscape).items():
        at = np.linspace(0, 1, len(median) + 1)[1:]
        band = {"color": hue[name], "width": 0}
        figure.add_trace(
            go.Scatter(
                x=at, y=high, line=band, hoverinfo="skip", showlegend=False, legendgroup=name
            )
        )
        figure.add_trace(
            go.Scatter(
                x=at, y=low, line=band, fill="tonexty", fillcolor=_faint(hue[name]),
                hoverinfo="skip", showlegend=False, legendgroup=name,
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(x=at, y=median, name=name, line={"color": hue[name]}, legendgroup=name)
        )
    figure.update_yaxes(type="log", range=_log_range(summary, landscape))
    about = f"{landscape}: median over seeds, bands from quarter to three quarters."
    name = "".join(letter if letter.isalnum() else "-" for letter in landscape)
    return Figure.drawn(f"anytime-{name}", figure, about, landscape)


def _log_range(summary: Summary, landscape: str) -> list[float]:
    """From the smallest regret above 0 that is drawn: a logarithm has no 0."""
    drawn = np.concatenate([rows.ravel() for rows in curves(summary.results, landscape).values()])
    above = drawn[drawn > 0]
    if not len(above):
        return [-2.0, 1.0]
    low = max(float(above.min()), 0.01 * float(above.max()))
    return [float(np.log10(low)) - 0.1, float(np.log10(above.max())) + 0.1]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"
