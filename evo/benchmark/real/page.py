"""The page of a benchmark on real training: differences to the seed, and what was recommended."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from evo.benchmark.real.cells import YARDSTICK, RealResult
from evo.benchmark.real.settings import RealConfig
from evo.benchmark.real.summary import (
    COLUMNS,
    RealStanding,
    real_headline,
    real_legend,
    real_row,
    real_standings,
)
from evo.report.page import NEUTRAL, Figure, Page, ReportTable, Section, blank, colours
from evo.report.variant_details import Pack


def real_page(config: RealConfig, results: Sequence[RealResult], config_text: str) -> Page:
    """The page; `config_text` is shown as it is."""
    standings = real_standings(results, config.contestants)
    seconds = sum(one.seconds for one in results)
    table = ReportTable(COLUMNS, [real_row(one) for one in standings])
    return Page(
        title="evo bench",
        subtitle=f"our own train.py, as {config.campaign.name} has it",
        headline=real_headline(results),
        lines=(real_legend(config),),
        merits=(
            ("Cells", f"{len(results):,}", f"{seconds / 60:.0f} minutes, without the judging"),
            ("Runs", f"{sum(one.runs for one in results):,}", "trained and scored in the sandbox"),
        ),
        sections=[
            Section("less", "Less the seed", (), [_differences(standings)], (table,)),
            Section(
                "recommended",
                "What each recommends",
                ("Knobs that differ from the seed's, by contestant and seed.",),
                tables=(_recommended(results, config.contestants),),
            ),
            Section("config", "The config as run", texts={"show": config_text}),
        ],
        pack=Pack((), ()),
    )


def _differences(standings: Sequence[RealStanding]) -> Figure:
    """Every seed as a ring, the mean with its interval as a dot."""
    hue = colours(one.contestant for one in standings)
    figure = blank("val_bpb less the seed's, on fresh blocks", "")
    for one in reversed(standings):
        mean, name = one.difference, one.contestant
        figure.add_trace(
            go.Scatter(
                x=one.by_seed,
                y=[name] * len(one.by_seed),
                mode="markers",
                marker={"color": hue[name], "size": 9, "symbol": "circle-open"},
                name=f"{name}, each seed",
            )
        )
        spread = {} if math.isnan(mean.low) else {"array": [mean.high - mean.value]}
        figure.add_trace(
            go.Scatter(
                x=[mean.value],
                y=[name],
                error_x=spread,
                mode="markers",
                marker={"color": hue[name], "size": 10},
                name=name,
            )
        )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_layout(showlegend=False)
    about = "Means over seeds with 95 % intervals, each seed as a ring; further left is better."
    return Figure.drawn("less-the-seed", figure, about)


def _recommended(results: Sequence[RealResult], names: Sequence[str]) -> ReportTable:
    found = (one for one in results if one.cell.contestant != YARDSTICK)
    ordered = sorted(found, key=lambda one: (names.index(one.cell.contestant), one.cell.seed))
    rows = [
        [
            one.cell.contestant,
            str(one.cell.seed),
            f"{one.difference:+.4f}",
            ", ".join(f"{name} {move}" for name, move in one.knobs.items()) or "the seed itself",
        ]
        for one in ordered
    ]
    return ReportTable(("contestant", "seed", "less the seed", "knobs"), rows)
