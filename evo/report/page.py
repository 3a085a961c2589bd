"""The page itself: everything in one file, nothing fetched, no script but the two whose hashes it names."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from evo.analysis.campaign_view import Record
from evo.analysis.findings import Findings
from evo.analysis.overview import Overview
from evo.analysis.ranking import Ranked
from evo.report.variant_details import Pack
from population.store import Store
from population.types import DecisionRow

OURS = '<meta name="generator" content="evotrain">'  # a page that may be replaced by a newer one
STYLE, SCRIPT, TEMPLATE = "report.css", "report.js", "report.html"
CONTENT, LIST, ROWS = "content.html", "campaigns.html", "campaign_rows.html"
FIGURE_HEIGHT = 420  # pixels


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its caption; `about` says in words what it shows, for those who cannot see it.

    `make` draws it, which costs more than all that stands beside it: a server does so when it is looked at.
    """

    name: str
    make: Callable[[], go.Figure]
    about: str
    title: str = ""
    height: int = FIGURE_HEIGHT

    @classmethod
    def drawn(cls, name: str, figure: go.Figure, about: str, title: str = "") -> Figure:
        """One that is there already."""
        return cls(name, lambda: figure, about, title, int(figure.layout.height))


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table: names of its columns, rows of plain text, and where a row belongs to a variant, whose."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    variants: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    name: str
    title: str
    lines: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[ReportTable] = ()
    texts: Mapping[str, str] = field(default_factory=dict)  # title to text that is shown as it is


@dataclass(frozen=True, slots=True)
class Page:
    """What the report holds. `lines`: what to read first, `caveats`: what speaks against it, `evidence`: what
    both rest on, folded; `merits`: figures, each (name, value, remark); `leader`: its id, "" without one.
    """

    title: str
    subtitle: str
    headline: str
    lines: Sequence[str]
    merits: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    pack: Pack
    caveats: Sequence[str] = ()
    evidence: Sequence[str] = ()
    leader: str = ""


def render(page: Page) -> str:
    """The HTML. Every text is escaped; scripts run only if their hash stands in the policy."""
    plotly, script = get_plotlyjs(), template_file(SCRIPT)
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            page=page,
            policy=_policy(plotly, script),
            style=Markup(template_file(STYLE)),
            plotly=Markup(plotly),
            script=Markup(script),
            figures=_data(_drawn(page)),
            variants=_data(list(page.pack.ids)),
            chunks=page.pack.chunks,
        )
    )


def render_live(page: Page, steer: bool, reading: int) -> str:
    """The same page for a server: its text comes first, scripts and figures from beside it.

    `reading`: the number of what was read for it.
    """
    shown = {"page": page, "live": True, "steer": steer, "reading": reading}
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(**shown, figures=_data({}), variants=_data([]), chunks=())
    )


def render_parts(page: Page) -> dict[str, Any]:
    """What of a live page changes beside its figures: its head and sections as HTML."""
    return {
        "subtitle": page.subtitle,
        "content": _environment().get_template(CONTENT).render(page=page, live=True),
    }


def render_figure(page: Page, name: str) -> str | None:
    """One of its figures as JSON, drawn now; None where it has none of that name."""
    figures = {one.name: one for section in page.sections for one in section.figures}
    return str(figures[name].make().to_json()) if name in figures else None


def render_list(
    campaigns: Sequence[Any], about: str, figure: go.Figure | None, rows_only: bool
) -> str:
    """The first page of a server: every campaign under a folder, those that are compared in one figure.

    `campaigns`: (key, evo.campaigns.Listed, cells of text, whether it is compared).
    """
    drawn = {} if figure is None else {"compared": json.loads(figure.to_json())}
    name = ROWS if rows_only else LIST
    return (
        _environment()
        .get_template(name)
        .render(campaigns=campaigns, about=about, figures=_data(drawn), figure=figure)
    )


def _environment() -> Environment:
    return Environment(loader=PackageLoader("evo.report"), autoescape=True)


def _drawn(page: Page) -> dict[str, Any]:
    return {
        one.name: json.loads(one.make().to_json())
        for section in page.sections
        for one in section.figures
    }


def _policy(*scripts: str) -> str:
    """Nothing from anywhere; of scripts, these alone. Figures set styles of their own."""
    hashes = " ".join(f"'sha256-{_digest(one)}'" for one in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _data(value: Any) -> Markup:
    """JSON inside a script element that is not run: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))


def plotly_script() -> str:
    """Plotly's own bundle, as its package brings it."""
    return str(get_plotlyjs())


def template_file(name: str) -> str:
    """One of the files beside the templates, as it is."""
    return resources.files("evo.report").joinpath("templates", name).read_text(encoding="utf-8")


# -- How every figure looks: plotly figures without colours of their own, so that the page themes them.


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


def blank(x_title: str, y_title: str, height: int = FIGURE_HEIGHT) -> go.Figure:
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


# -- A campaign as the report needs it, read once.


@dataclass(frozen=True, slots=True)
class ReportData:
    """A campaign as the report needs it, read once."""

    store: Store
    record: Record
    overview: Overview
    ranked: Sequence[Ranked]
    by_id: Mapping[str, Ranked]
    verdicts: Sequence[DecisionRow]
    source_of: Callable[[str], str]
    config: str  # the file as run
    colour: Mapping[str, str]

    @property
    def findings(self) -> Findings:
        """What was found."""
        return self.overview.findings
