"""The page itself: everything in one file, nothing fetched, no script but the two whose hashes it names."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from evo.report.dossiers import Pack

OURS = '<meta name="generator" content="evotrain">'  # a page that may be replaced by a newer one
STYLE, SCRIPT, TEMPLATE = "report.css", "report.js", "report.html"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its caption; `about` says in words what it shows, for those who cannot see it."""

    name: str
    figure: go.Figure
    about: str
    title: str = ""


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
    """What the report holds. `figures` of merit: (name, value, remark)."""

    title: str
    subtitle: str
    headline: str
    lines: Sequence[str]
    merits: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    pack: Pack


def render(page: Page) -> str:
    """The HTML. Every text is escaped; scripts run only if their hash stands in the policy."""
    plotly, script = get_plotlyjs(), _file(SCRIPT)
    drawn = {
        one.name: json.loads(one.figure.to_json())
        for section in page.sections
        for one in section.figures
    }
    environment = Environment(loader=PackageLoader("evo.report"), autoescape=True)
    return environment.get_template(TEMPLATE).render(
        page=page,
        policy=_policy(plotly, script),
        style=Markup(_file(STYLE)),
        plotly=Markup(plotly),
        script=Markup(script),
        figures=_data(drawn),
        variants=_data(list(page.pack.ids)),
        chunks=page.pack.chunks,
    )


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


def _file(name: str) -> str:
    return resources.files("evo.report").joinpath("templates", name).read_text(encoding="utf-8")
